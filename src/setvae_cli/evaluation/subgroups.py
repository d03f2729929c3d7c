"""How well a model does for whom: figures of each group of an attribute, and against all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from setvae_cli.evaluation.attributes import Attribute
from setvae_cli.evaluation.bootstrap import drawn_groups, interval
from setvae_cli.evaluation.disclosure import Cells, Shown, shown
from setvae_cli.evaluation.labelled import Doubles, Labelled, sigmoid
from setvae_cli.evaluation.metrics import rank_metrics

NAMES = ("auroc", "auprc", "observed_to_expected")
_DIGITS = 3  # more would let figures of groups give away those of a group that is not shown
_LEVEL = 0.95


@dataclass(frozen=True)
class Figure:
    """A figure of one group, with its 95 % bootstrap interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Subgroup:
    """One group of an attribute.

    Attributes:
        name: Of the group.
        shown: Its counts, as far as they may be shown.
        auroc, auprc: How well its subjects are ranked; None where figures are not shown.
        observed_to_expected: Positives over the sum of their predicted probabilities: 1 where they
            are right on the whole, above 1 where risk is told too low. None with several classes,
            and where positives are not shown exactly, which it would give away.
        gap: AUROC of the group less that of all others.
        worse: Whether that is below 0 beyond chance.
        off: Whether observed to expected is not that of all subjects, beyond chance. Chance is
            counted for all groups of the table together (Bonferroni).
    """

    name: str
    shown: Shown
    auroc: Figure | None = None
    auprc: Figure | None = None
    observed_to_expected: Figure | None = None
    gap: Figure | None = None
    worse: bool = False
    off: bool = False


@dataclass(frozen=True)
class ByAttribute:
    """A table of groups.

    Attributes:
        task: Name of the label.
        name: Of the attribute.
        cut: How a number was cut; empty where each value is a group.
        groups: In the order of their values.
        binary: Whether the label has two classes, one of which is the positive one.
    """

    task: str
    name: str
    cut: str
    groups: tuple[Subgroup, ...]
    binary: bool = True

    @property
    def suppressed(self) -> bool:
        """Whether a count is not shown exactly."""
        return not all(one.shown.exact for one in self.groups)


def by_attribute(
    of: Labelled,
    attribute: Attribute,
    *,
    resamples: int = 1000,
    seed: int = 0,
    tick: Callable[[float], None] | None = None,
) -> ByAttribute:
    """Figures of each group.

    Args:
        of: Labelled subjects of one task, with finite logits.
        attribute: Of the same subjects.
        resamples: Bootstrap samples of an interval; 0: no intervals.
        seed: Seed of the bootstrap.
        tick: Is told which share of the resamples is done.
    """
    places = range(len(attribute.groups))
    members = [attribute.place == place for place in places]
    visible = shown([_cells(of, mine) for mine in members])
    kept = [place for place in places if visible[place].figures]
    parts = [_all_figures(of, members, kept, np.ones((1, len(of))))]
    done = 0
    for weights in drawn_groups(of, resamples, seed) if kept else ():
        parts.append(_all_figures(of, members, kept, weights))
        done += len(weights)
        if tick:
            tick(done / resamples)
    samples = np.concatenate(parts)
    found = [Subgroup(name, told) for name, told in zip(attribute.groups, visible, strict=True)]
    for number, place in enumerate(kept):
        found[place] = _with_figures(found[place], samples[:, number], len(kept))
    return ByAttribute(of.task, attribute.name, attribute.cut, tuple(found), of.binary)


def _cells(of: Labelled, mine: np.ndarray) -> Cells:
    labels = of.labels[mine]
    least = int(np.bincount(labels, minlength=of.classes).min())
    return Cells(len(labels), int((labels > 0).sum()), least)


def _all_figures(
    of: Labelled, members: list[np.ndarray], kept: list[int], weights: Doubles
) -> Doubles:
    """AUROC, AUPRC, observed to expected, gap, the third over that of all: [samples, groups, 5]."""
    found = np.full((len(weights), len(kept), 5), np.nan)
    whole = _observed_to_expected(of, weights)
    for number, place in enumerate(kept):
        mine, others = members[place], ~members[place]
        found[:, number, :2] = _ranked(of.of(mine), weights[:, mine])
        found[:, number, 2] = _observed_to_expected(of.of(mine), weights[:, mine])
        found[:, number, 4] = found[:, number, 2] / np.where(whole > 0, whole, np.nan)
        rest = of.of(others)
        if len(rest) and not _cells(of, others).small:
            found[:, number, 3] = found[:, number, 0] - _ranked(rest, weights[:, others])[:, 0]
    return found


def _observed_to_expected(of: Labelled, weights: Doubles) -> Doubles:
    """[samples]; NaN with several classes."""
    if not of.binary:
        return np.full(len(weights), np.nan)
    expected = weights @ sigmoid(of.logits[:, 0])
    found: Doubles = weights @ (of.labels == 1) / np.where(expected > 0, expected, np.nan)
    return found


def _ranked(of: Labelled, weights: Doubles) -> Doubles:
    """AUROC and AUPRC [samples, 2], over classes their mean."""
    sides = [np.stack(rank_metrics(*side, weights), axis=1) for side in of.sides]
    found: Doubles = np.mean(sides, axis=0)
    return found


def _with_figures(one: Subgroup, samples: Doubles, groups: int) -> Subgroup:
    """The group with the figures of its samples [1 + resamples, 5], the first of them exact."""
    auroc, auprc, ratio, gap = (_figure(samples[:, place], _LEVEL) for place in range(4))
    level = 1 - (1 - _LEVEL) / groups
    gaps, ratios = (interval(samples[1:, place], level) for place in (3, 4))
    off = ratios[0] is not None and not ratios[0] <= 1 <= (ratios[1] or 0)
    return replace(
        one,
        auroc=auroc,
        auprc=auprc,
        observed_to_expected=ratio if one.shown.exact else None,
        gap=gap,
        worse=gaps[1] is not None and gaps[1] < 0,
        off=off and one.shown.exact,
    )


def _figure(samples: Doubles, level: float) -> Figure | None:
    if not np.isfinite(samples[0]):
        return None
    ends = [None if end is None else round(end, _DIGITS) for end in interval(samples[1:], level)]
    return Figure(round(float(samples[0]), _DIGITS), *ends)
