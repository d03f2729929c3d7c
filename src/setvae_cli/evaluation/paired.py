"""AUROC and AUPRC of several methods over the same test subjects, and their paired differences.

A figure is measured in each fold of each repeat, and averaged. Its interval is a bootstrap over
subjects: each sample draws the groups of a fold anew, with return, and a group counts as often in
every repeat and for every method. So an interval says how much depends on who is in the cohort;
how much depends on chance in training, only more seeds and repeats say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.bootstrap import block_sizes
from setvae_cli.evaluation.labelled import Labelled
from setvae_cli.evaluation.metrics import rank_metrics

NAMES = ("auroc", "auprc")

Array = NDArray[Any]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """Who was tested where, the same for every method; one entry a subject and repeat.

    Attributes:
        cell: Number of the fold and repeat of each entry, from 0 [entries].
        group: Number of its group, from 0 [entries].
        labels: Its class [entries].
        classes: Of the label.
    """

    cell: NDArray[np.int64]
    group: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: int

    @cached_property
    def cells(self) -> list[NDArray[np.int64]]:
        """Entries of each cell."""
        return [np.flatnonzero(self.cell == i) for i in range(int(self.cell.max()) + 1)]

    @property
    def lacks_a_class(self) -> str | None:
        """Why classes cannot be told apart in the first cell that lacks one; None: in all they can.

        >>> Design(np.zeros(2, int), np.arange(2), np.zeros(2, int), 2).lacks_a_class
        'only class 0 is present'
        """
        each = (
            Labelled("", self.classes, np.empty((0, 1)), self.labels[some], self.group[some])
            for some in self.cells
        )
        return next((why for one in each if (why := one.lacks_a_class)), None)

    def weights(self, resamples: int, seed: int) -> Iterator[Doubles]:
        """How often each group counts in each sample [samples, groups], block by block.

        Groups are drawn inside the first cell that they stand in, which is their fold of the
        first repeat.
        """
        first = np.full(int(self.group.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, self.group, self.cell)
        strata = [np.flatnonzero(first == one) for one in np.unique(first).tolist()]
        generator = np.random.default_rng(seed)
        for size in block_sizes(len(first), resamples):
            drawn = np.empty((size, len(first)))
            for some in strata:
                share = np.full(len(some), 1 / len(some))
                drawn[:, some] = generator.multinomial(len(some), share, size=len(drawn))
            yield drawn


@dataclass(frozen=True)
class Figures:
    """What was measured of one method.

    Attributes:
        by_cell: [cells, 2] AUROC and AUPRC; NaN where a cell lacks a class.
        samples: [resamples, 2], their means in bootstrap samples.
    """

    by_cell: Doubles
    samples: Doubles

    @property
    def mean(self) -> Doubles:
        """Over the cells; NaN where none has both classes."""
        mean: Doubles = _mean(self.by_cell[None])[0]
        return mean

    @property
    def spread(self) -> Doubles:
        """Standard deviation over the cells; NaN of a single one."""
        known = np.isfinite(self.by_cell).sum(axis=0)
        squares = np.nansum((self.by_cell - self.mean) ** 2, axis=0)
        spread: Doubles = np.where(known > 1, np.sqrt(squares / np.maximum(known - 1, 1)), np.nan)
        return spread


@dataclass(frozen=True)
class Interval:
    """A number with what the middle 95 % of its bootstrap samples reach.

    Attributes:
        value: NaN: it cannot be computed.
        low, high: Bounds; NaN without samples.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def figures(tested: Design, logits: Doubles, *, resamples: int = 1000, seed: int = 0) -> Figures:
    """Measure one method.

    Args:
        tested: Who was tested where.
        logits: [entries, outputs], finite; one output for two classes.
        resamples: Bootstrap samples; 0: none.
        seed: Of the bootstrap. Methods measured with the same seed can be compared in pairs.
    """
    samples = [np.empty((0, len(NAMES)))]
    for weights in tested.weights(resamples, seed):
        each = [_measured(tested, logits, some, weights) for some in tested.cells]
        samples.append(_mean(np.stack(each, axis=1)))
    alone = [_measured(tested, logits, some, None)[0] for some in tested.cells]
    return Figures(np.stack(alone), np.concatenate(samples))


def averaged(each: Sequence[Figures]) -> Figures:
    """The mean figures of several seeds of one method, measured with the same bootstrap."""
    return Figures(
        np.mean([one.by_cell for one in each], axis=0),
        np.mean([one.samples for one in each], axis=0),
    )


def interval(of: Figures, number: int) -> Interval:
    """One of `NAMES`, by its number, with its interval."""
    return _interval(float(of.mean[number]), of.samples[:, number])


def difference(one: Figures, other: Figures, number: int) -> Interval:
    """How much larger one of `NAMES` is for one method than for another on the same subjects."""
    value = float(one.mean[number] - other.mean[number])
    return _interval(value, one.samples[:, number] - other.samples[:, number])


def _interval(value: float, samples: Doubles) -> Interval:
    usable = samples[np.isfinite(samples)]
    if not len(usable):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(usable, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _measured(tested: Design, logits: Doubles, some: Array, weights: Doubles | None) -> Doubles:
    """AUROC and AUPRC of the entries of one cell, [samples, 2]."""
    groups = tested.group[some]
    of = Labelled("", tested.classes, logits[some], tested.labels[some], groups)
    drawn = None if weights is None else weights[:, groups]
    if of.lacks_a_class:
        return np.full((1 if drawn is None else len(drawn), len(NAMES)), np.nan)
    sides = [rank_metrics(scores, truth, drawn) for scores, truth in of.sides]
    return np.stack(np.mean(sides, axis=0), axis=1)


def _mean(found: Doubles) -> Doubles:
    """Mean over the second axis of what is known."""
    known = np.isfinite(found)
    total = np.where(known, found, 0.0).sum(axis=1)
    number = known.sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
