"""What a verdict reads of one check: a few plain figures a level."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from setvae_cli.monitor.measures import LevelMeasures

WARMING_SHARE = 0.3


@dataclass(frozen=True)
class LevelCheck:
    """Figures of one level.

    Attributes:
        level: From 1.
        latent, active, over_sharp: All dimensions, active ones, over-sharp ones.
        sets: Sets the figures rest on.
        kl: Mean raw KL, nats a set.
        information: Upper end of the bound on information, nats; None where unknown.
        gaussian_kl: Distance of the aggregate posterior from the prior, nats; None where unknown.
        decoder_gap: Cost of another subject's latents, nats a set; None where not measured.
        decoder_silent: Whether that cost is about 0; None where not measured.
    """

    level: int
    latent: int
    active: int
    over_sharp: int
    sets: int
    kl: float
    information: float | None
    gaussian_kl: float | None
    decoder_gap: float | None
    decoder_silent: bool | None

    @classmethod
    def of(cls, measures: LevelMeasures) -> LevelCheck:
        """The figures that verdicts read."""
        bound, distance, gap = measures.information, measures.gaussian_kl, measures.decoder_gap
        return cls(
            level=measures.level,
            latent=measures.latent,
            active=measures.active,
            over_sharp=sum(measures.dimensions.over_sharp),
            sets=measures.sets,
            kl=measures.kl,
            information=None if bound is None else _known(bound.high),
            gaussian_kl=None if distance is None else _known(distance.value),
            decoder_gap=None if gap is None else _known(gap.cost.value),
            decoder_silent=None if gap is None else gap.about_zero,
        )


@dataclass(frozen=True)
class Check:
    """One look at all levels.

    Attributes:
        step: Optimizer steps done.
        warming: Whether beta still rises.
        levels: Figures of each level.
    """

    step: int
    warming: bool
    levels: tuple[LevelCheck, ...]

    @classmethod
    def of(
        cls,
        levels: Iterable[LevelMeasures],
        *,
        step: int,
        planned: int,
        beta: float,
        target: float,
    ) -> Check:
        """The check of a step.

        Args:
            levels: What was measured.
            step, planned: Optimizer steps done, and of the whole run.
            beta, target: Weight of the KL term at this step, and at its largest.
        """
        warming = beta < target and step < WARMING_SHARE * planned
        return cls(step, warming, tuple(LevelCheck.of(level) for level in levels))


def _known(value: float) -> float | None:
    """A figure that came out of rounding as no number is not known, and is no small one."""
    return value if math.isfinite(value) else None
