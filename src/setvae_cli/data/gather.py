"""Subjects of a store gathered into packed arrays: which sets of each, then their elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from setvae_cli.store.format import Packed
from setvae_cli.store.pack import keep_elements
from setvae_cli.store.reader import Store

Truncate = Literal["latest", "earliest", "random"]
Array = NDArray[Any]


@dataclass(frozen=True)
class Windows:
    """What of each subject is gathered: a range of sets, and of elements, inside its shard.

    Attributes:
        shard: The shard, int64 [subjects].
        first_set, n_sets: Range of sets.
        first, n_elements: Range of elements.
    """

    shard: Array
    first_set: Array
    n_sets: Array
    first: Array
    n_elements: Array

    def take(self, index: Array) -> Windows:
        """The windows of some subjects."""
        return Windows(
            self.shard[index],
            self.first_set[index],
            self.n_sets[index],
            self.first[index],
            self.n_elements[index],
        )

    def replaced(self, where: NDArray[np.bool_], other: Windows) -> Windows:
        """Other windows for some of the subjects."""
        return Windows(
            self.shard,
            np.where(where, other.first_set, self.first_set),
            np.where(where, other.n_sets, self.n_sets),
            np.where(where, other.first, self.first),
            np.where(where, other.n_elements, self.n_elements),
        )


def find_windows(
    store: Store, rows: NDArray[np.int64], *, limit: int | None, truncate: Truncate
) -> Windows:
    """The sets of each row that fit the limit, whole; a single set that does not fit is cut.

    Args:
        store: Where the events are.
        rows: Row numbers.
        limit: Elements a subject; None: no limit.
        truncate: Which sets a longer subject keeps; random leaves the choice to `random_window`.
    """
    shards, inside = store.columns.shard[rows], store.columns.row_in_shard[rows]
    parts = np.zeros((4, len(rows)), dtype=np.int64)
    for number in np.unique(shards).tolist():
        mine = np.flatnonzero(shards == number)
        shard = store.shard(number)
        first = shard.row_offsets[inside[mine]].astype(np.int64)
        end = shard.row_offsets[inside[mine] + 1].astype(np.int64)
        if limit is not None and truncate != "random":
            first, end = _fit(shard.set_offsets, first, end, limit, truncate)
        start, stop = shard.set_offsets[first], shard.set_offsets[end]
        size = stop - start
        if limit is not None and truncate != "random":
            size = np.minimum(size, limit)
        parts[:, mine] = first, end - first, start, size
    return Windows(shards, *parts)


def random_windows(
    store: Store, windows: Windows, draws: NDArray[np.float32], *, limit: int
) -> Windows:
    """Windows that begin at a random set from which the limit can still be filled.

    Args:
        store: Where the events are.
        windows: All sets of some subjects.
        draws: A uniform number in [0, 1) a subject.
        limit: Elements a subject.
    """
    parts = np.stack((windows.first_set, windows.n_sets, windows.first, windows.n_elements))
    long = windows.n_elements > limit
    for number in np.unique(windows.shard[long]).tolist():
        mine = np.flatnonzero(long & (windows.shard == number))
        offsets = store.shard(number).set_offsets
        first, end = parts[0, mine], parts[0, mine] + parts[1, mine]
        last, _ = _fit(offsets, first, end, limit, "latest")
        begin = first + np.floor(draws[mine] * (last - first + 1)).astype(np.int64)
        begin, stop = _fit(offsets, np.minimum(begin, last), end, limit, "earliest")
        size = np.minimum(offsets[stop] - offsets[begin], limit)
        parts[:, mine] = begin, stop - begin, offsets[begin], size
    return Windows(windows.shard, *parts)


def gather(store: Store, windows: Windows) -> Packed:
    """The events of some windows, in their order, copied out of the shards."""
    rows, ends = _ends(windows.n_sets), _ends(windows.n_elements)
    shards = np.unique(windows.shard).tolist()
    if len(shards) == 1:
        return _gather_shard(store.shard(shards[0]), windows, rows, ends)
    axes = store.shard(shards[0]).positions.shape[1]
    keys, values = np.empty(ends[-1], np.int32), np.empty(ends[-1], np.float32)
    positions, sizes = np.empty((rows[-1], axes), np.float32), np.empty(rows[-1], np.int64)
    for number in shards:
        mine = np.flatnonzero(windows.shard == number)
        some = windows.take(mine)
        part = _gather_shard(store.shard(number), some, _ends(some.n_sets), _ends(some.n_elements))
        elements, sets = ranges(ends[mine], some.n_elements), ranges(rows[mine], some.n_sets)
        keys[elements], values[elements] = part.keys, part.values
        positions[sets], sizes[sets] = part.positions, np.diff(part.set_offsets)
    return Packed(rows, _ends(sizes), positions, keys, values)


def only(packed: Packed, keep: NDArray[np.bool_]) -> Packed:
    """Leave out elements, and sets that become empty; subjects stay."""
    rows, sets, filled = keep_elements(keep, packed.row_offsets, packed.set_offsets)
    return Packed(rows, sets, packed.positions[filled], packed.keys[keep], packed.values[keep])


def ranges(starts: Array, sizes: Array) -> Array:
    """`starts[0], starts[0] + 1, ...` for each range, one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(sizes)
    return np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)


def _gather_shard(shard: Packed, windows: Windows, rows: Array, ends: Array) -> Packed:
    """Windows of one shard; the first and the last element may cut a single long set."""
    element = ranges(windows.first, windows.n_elements)
    chosen = ranges(windows.first_set, windows.n_sets)
    offsets = np.empty(rows[-1] + 1, dtype=np.int64)
    shift = np.repeat(ends[:-1] - windows.first, windows.n_sets)
    np.add(shard.set_offsets[chosen], shift, out=offsets[:-1])
    offsets[-1] = ends[-1]
    return Packed(
        rows, offsets, shard.positions[chosen], shard.keys[element], shard.values[element]
    )


def _fit(
    set_offsets: Array, first: Array, end: Array, limit: int, truncate: Truncate
) -> tuple[Array, Array]:
    """The last (or first) sets of each range that fit the limit, at least one."""
    if truncate == "latest":
        fitting = np.searchsorted(set_offsets, set_offsets[end] - limit, side="left")
        return np.clip(fitting, first, end - 1), end
    fitting = np.searchsorted(set_offsets, set_offsets[first] + limit, side="right") - 1
    return first, np.clip(fitting, first + 1, end)


def _ends(sizes: Array) -> Array:
    ends = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=ends[1:])
    return ends
