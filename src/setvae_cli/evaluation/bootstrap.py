"""The bootstrap: subjects, or whole groups of them, drawn again with replacement."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from setvae_cli.evaluation.labelled import Doubles, Labelled

_BLOCK = 4_000_000  # cells of a block of weights: 32 MB of float64

Tick = Callable[[float], None]
"""Is told which share of the resamples is done."""
Scorer = Callable[[Labelled, Doubles], Doubles]
"""Figures [samples, figures] of weights [samples, subjects]."""


def resampled(
    of: Labelled,
    scorer: Scorer,
    width: int,
    *,
    resamples: int,
    seed: int,
    tick: Tick | None = None,
) -> Doubles:
    """Figures of bootstrap samples [resamples, width] that draw whole groups.

    With the same number of groups and seed, group k is drawn as often in the same sample.
    """
    parts, done = [np.empty((0, width))], 0
    for weights in drawn_groups(of, resamples, seed):
        parts.append(scorer(of, weights))
        done += len(weights)
        if tick:
            tick(done / resamples)
    return np.concatenate(parts)


def drawn_groups(of: Labelled, resamples: int, seed: int) -> Iterator[Doubles]:
    """Weights [samples, subjects] of bootstrap samples, block by block."""
    count = int(of.groups.max(initial=-1)) + 1
    generator = np.random.default_rng(seed)
    for size in block_sizes(len(of), resamples):
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=size)
        yield drawn[:, of.groups].astype(np.float64)


def block_sizes(cells: int, samples: int) -> list[int]:
    """Samples of each block, so that a block of so many cells a sample fits into 32 MB."""
    block = max(1, _BLOCK // max(cells, 1))
    return [min(block, samples - first) for first in range(0, samples, block)]


def interval(samples: Doubles, level: float = 0.95) -> tuple[float | None, float | None]:
    """The middle part of what is finite among bootstrap samples; None where nothing is."""
    usable = samples[np.isfinite(samples)]
    if not len(usable):
        return None, None
    outside = 50 * (1 - level)
    low, high = np.percentile(usable, [outside, 100 - outside])
    return float(low), float(high)


def centred_interval(value: float, samples: Doubles) -> tuple[float | None, float | None]:
    """The interval of a distance, which resampling makes larger: its median bias is taken off.

    The bootstrap's estimate of bias, by the median as in Efron 1987 ("Better bootstrap confidence
    intervals"): how far the samples' median lies above the value. It holds the value; a distance is
    at least 0.

    Args:
        value: As it was measured.
        samples: Of the bootstrap, NaN where it is not defined.
    """
    low, high = interval(samples)
    if low is None or high is None:
        return None, None
    bias = float(np.median(samples[np.isfinite(samples)])) - value
    return max(low - bias, 0.0), high - bias
