"""What an evaluation found: plain values that any room can print, and that import nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One number about one task, or the reason why there is none.

    Attributes:
        name: `auroc`, `auprc` or `accuracy`.
        task: Name of the label.
        value: The number over all labelled subjects; None when absent.
        low, high: 95 % bootstrap interval; None when absent or not asked for.
        subjects: Labelled subjects.
        reason: Why it is absent; None when it is not.
    """

    name: str
    task: str
    value: float | None
    low: float | None
    high: float | None
    subjects: int
    reason: str | None = None


@dataclass(frozen=True)
class LevelPosterior:
    """What one level carries.

    Attributes:
        level: From 1.
        kl_nats: Mean raw KL a set.
        floor: Nats a set that free bits leave free.
        active: Active dimensions.
        latent: All dimensions.
        sets: Sets it was measured on.
        verdict: What the watch over the run said last; empty without one.
    """

    level: int
    kl_nats: float
    floor: float
    active: int
    latent: int
    sets: int
    verdict: str = ""
