"""Random slices of subjects: runs of whole consecutive sets, several of each.

CoLES learns from them (Babaev et al. 2022, algorithm 1: a length drawn uniform between two bounds,
then a beginning drawn uniform among those that fit). Bounds may be shares of a subject's sets, so
that they suit short and long subjects alike. All draws are functions of (seed, epoch, batch,
place, slice).

A slice begins at the time at which its subject does: slices of one subject overlap, and would know
one another by their times alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.gather import Windows, by_shard
from setvae_cli.data.noise import uniform_runs
from setvae_cli.store.format import Packed
from setvae_cli.store.reader import Store

LENGTH_DRAW, START_DRAW = 111, 112

Array = NDArray[Any]


@dataclass(frozen=True)
class SliceRule:
    """How subjects are sliced.

    Attributes:
        slices: Slices of each subject.
        least, most: Sets of a slice; below 1: a share of the subject's sets. A slice has at least
            one set, and never more than its subject.
        beside: Whether slices stand beside their subjects, or instead of them.
    """

    slices: int
    least: float
    most: float
    beside: bool = False

    def bounds(self, n_sets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Smallest and largest slice of subjects with so many sets.

        >>> [bound.tolist() for bound in SliceRule(5, 0.25, 40).bounds(np.array([1, 10, 100]))]
        [[1, 3, 25], [1, 10, 40]]
        """
        most = np.clip(np.floor(_sets(self.most, n_sets)), 1, n_sets)
        least = np.clip(np.ceil(_sets(self.least, n_sets)), 1, most)
        return least.astype(np.int64), most.astype(np.int64)

    def elements(
        self, n_sets: NDArray[np.int64], n_elements: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """What subjects of so many sets and elements take in a batch, if sets are of one size."""
        largest = self.slices * self.bounds(n_sets)[1] / n_sets
        return np.ceil(n_elements * (largest + self.beside)).astype(np.int64)


def draw_slices(
    n_sets: NDArray[np.int64],
    rule: SliceRule,
    *,
    seed: int,
    epoch: int,
    batch: int,
    places: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First set and number of sets of each slice, counted inside its subject.

    Args:
        n_sets: Sets of each subject, int64 [subjects].
        rule: How many slices, of which lengths.
        seed, epoch, batch, places: As for `uniform_runs`; fixed slices take the same epoch and
            batch each time, and row numbers as places.

    Returns:
        Two arrays [subjects, slices].
    """
    least, most = (bound[:, None] for bound in rule.bounds(n_sets))
    runs = np.full(len(n_sets), rule.slices)

    def draw(what: int) -> Array:
        uniform = uniform_runs(seed, epoch, batch, places, runs, draw=what)
        return uniform.astype(np.float64).reshape(-1, rule.slices)

    size = least + np.floor(draw(LENGTH_DRAW) * (most - least + 1)).astype(np.int64)
    spare = n_sets[:, None] - size
    return np.floor(draw(START_DRAW) * (spare + 1)).astype(np.int64), size


def sliced(store: Store, windows: Windows, first: Array, size: Array) -> Windows:
    """The windows of slices, those of a subject one after the other.

    Args:
        store: Where the events are.
        windows: What of each subject may be sliced; if it cuts a single long set, so does its
            slice.
        first, size: As `draw_slices` gives them, for the sets of `windows` [subjects, slices].
    """
    whole = windows.take(np.arange(len(first)).repeat(first.shape[1]))
    begin, n_sets = whole.first_set + first.reshape(-1), size.reshape(-1)
    start, stop = np.empty_like(begin), np.empty_like(begin)
    for number, mine in by_shard(whole.shard):
        offsets = store.shard(number).set_offsets
        start[mine], stop[mine] = offsets[begin[mine]], offsets[begin[mine] + n_sets[mine]]
    stop = np.minimum(stop, whole.first + whole.n_elements)
    return Windows(whole.shard, begin, n_sets, start, stop - start)


def begun_with(store: Store, windows: Windows, packed: Packed, slices: int) -> Packed:
    """Slices moved in time, each to begin when its subject does; places in space stay.

    Args:
        store: Where the events are.
        windows: What of each subject is sliced.
        packed: Slices of them, those of a subject one after the other, none empty.
        slices: Slices of each subject.
    """
    if packed.positions.shape[1] != 1:
        return packed
    begin = np.empty(len(windows.shard), dtype=packed.positions.dtype)
    for number, mine in by_shard(windows.shard):
        begin[mine] = store.shard(number).positions[windows.first_set[mine], 0]
    move = begin.repeat(slices) - packed.positions[packed.row_offsets[:-1], 0]
    sets = packed.row_offsets[1:] - packed.row_offsets[:-1]
    return replace(packed, positions=packed.positions + move.repeat(sets)[:, None])


def _sets(bound: float, n_sets: NDArray[np.int64]) -> Array:
    return bound * n_sets if bound < 1 else np.full(len(n_sets), bound)
