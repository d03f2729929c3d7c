"""What the monitor found at one step: plain values that any room can print, store or judge."""

from __future__ import annotations

from dataclasses import dataclass

from setvae_cli.monitor.bracket import Bracket
from setvae_cli.monitor.groups import Interval
from setvae_cli.monitor.paired import Gap


@dataclass(frozen=True)
class Dimensions:
    """Figures of one level, one entry a latent dimension.

    Attributes:
        kl: Mean raw KL, nats a set.
        mean_variance: Variance over sets of the residual posterior mean.
        variance: Mean residual posterior variance.
        plain_variance: Mean posterior variance, whatever the prior.
        active: `mean_variance` above 0.01.
        used: KL above 0.1 nat.
        collapsed: KL below 0.01 nat for at least 99 % of sets.
        matched: Variance within 0.05 of the prior's, and inactive.
        over_sharp: Variance below 1e-4 of the prior's.
        histogram: Sets by KL, bins as `level.EDGES` bounds them.
    """

    kl: list[float]
    mean_variance: list[float]
    variance: list[float]
    plain_variance: list[float]
    active: list[bool]
    used: list[bool]
    collapsed: list[bool]
    matched: list[bool]
    over_sharp: list[bool]
    histogram: list[list[int]]


@dataclass(frozen=True)
class LevelMeasures:
    """Figures of one level.

    Attributes:
        level: From 1.
        sets, subjects: Counts they rest on.
        kl: Mean raw KL, nats a set.
        floor: Nats a set that free bits leave free.
        dimensions: Figures a dimension.
        information: Upper bound on I(x; z), nats a set; None with too few subjects.
        gaussian_kl: Distance of the aggregate posterior from the prior, by its moments, nats.
        bracket: Minibatch bounds; None below 256 sets.
        decoder_gap: Cost of another subject's latents; None where it was not measured.
    """

    level: int
    sets: int
    subjects: int
    kl: float
    floor: float
    dimensions: Dimensions
    information: Interval | None
    gaussian_kl: Interval | None
    bracket: Bracket | None
    decoder_gap: Gap | None = None

    @property
    def active(self) -> int:
        """Active dimensions."""
        return sum(self.dimensions.active)

    @property
    def latent(self) -> int:
        """All dimensions."""
        return len(self.dimensions.kl)


@dataclass(frozen=True)
class HistoryUse:
    """What the history adds to latents.

    Attributes:
        explained: Share of the variance of h_t that a linear map of z_t explains; None with too
            few sets.
        gap: Cost of another subject's past, nats a set: reconstruction and KL together; None where
            nothing is given the past, or it was not measured.
    """

    explained: float | None
    gap: Gap | None


@dataclass(frozen=True)
class Measures:
    """Everything of one check.

    Attributes:
        levels: Figures of each level, lowest first.
        history: What the history adds; None where it was not measured.
        legacy: The original's four numbers.
    """

    levels: tuple[LevelMeasures, ...]
    history: HistoryUse | None
    legacy: dict[str, float]
