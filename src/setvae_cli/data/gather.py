"""Subjects of a store gathered into packed arrays: which sets of each, then their elements."""

from __future__ import annotations

from collections.abc import Iterator
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
        truncate: Which sets a longer subject keeps; random leaves the choice to `random_windows`.
    """
    shards, inside = store.columns.shard[rows], store.columns.row_in_shard[rows]
    first, end = np.zeros((2, len(rows)), dtype=np.int64)
    for number, mine in by_shard(shards):
        row_offsets = store.shard(number).row_offsets
        first[mine] = row_offsets[inside[mine]]
        end[mine] = row_offsets[inside[mine] + 1]
    return windows_between(store, shards, first, end, limit=limit, truncate=truncate)


def windows_between(
    store: Store, shards: Array, first: Array, end: Array, *, limit: int | None, truncate: Truncate
) -> Windows:
    """The sets of each range that fit the limit, as for `find_windows`.

    Args:
        store: Where the events are.
        shards: Shard of each range, int64 [subjects].
        first, end: First set of each range inside its shard, and the end.
        limit, truncate: As for `find_windows`; with a limit no range may be empty.
    """
    parts = np.zeros((4, len(shards)), dtype=np.int64)
    for number, mine in by_shard(shards):
        starts, begin, stop = store.shard(number).set_offsets, first[mine], end[mine]
        if limit is not None and truncate != "random":
            begin, stop = _fit(starts, begin, stop, limit, truncate)
        size = starts[stop] - starts[begin]
        if limit is not None and truncate != "random":
            size = np.minimum(size, limit)
        parts[:, mine] = begin, stop - begin, starts[begin], size
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
    long = np.flatnonzero(windows.n_elements > limit)
    for number, place in by_shard(windows.shard[long]):
        mine, starts = long[place], store.shard(number).set_offsets
        first, end = parts[0, mine], parts[0, mine] + parts[1, mine]
        last, _ = _fit(starts, first, end, limit, "latest")
        begin = first + np.floor(draws[mine] * (last - first + 1)).astype(np.int64)
        begin, stop = _fit(starts, np.minimum(begin, last), end, limit, "earliest")
        size = np.minimum(starts[stop] - starts[begin], limit)
        parts[:, mine] = begin, stop - begin, starts[begin], size
    return Windows(windows.shard, *parts)


def by_shard(shards: Array) -> Iterator[tuple[int, Array]]:
    """Each shard that occurs, ascending, and the places where it does."""
    order = shards.argsort(kind="stable")
    numbers, starts = np.unique(shards[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=False):
        yield number, order[start:end]


def gather(store: Store, windows: Windows) -> Packed:
    """The events of some windows, in their order, copied out of the shards.

    One slice a subject, joined: a copy of memory, where indices of every element would be made and
    followed. The first and the last element may cut a single long set.
    """
    rows, ends = offsets(windows.n_sets), offsets(windows.n_elements)
    shards = [store.shard(number) for number in windows.shard.tolist()]
    sets = _slices(windows.first_set, windows.n_sets)
    elements = _slices(windows.first, windows.n_elements)
    set_offsets = np.empty(rows[-1] + 1, dtype=np.int64)
    parts = [shard.set_offsets[part] for shard, part in zip(shards, sets, strict=True)]
    np.concatenate(parts, out=set_offsets[:-1])
    set_offsets[:-1] += (ends[:-1] - windows.first).repeat(windows.n_sets)
    set_offsets[-1] = ends[-1]
    keys = np.concatenate([shard.keys[part] for shard, part in zip(shards, elements, strict=True)])
    store.check_keys(keys)
    return Packed(
        rows,
        set_offsets,
        np.concatenate([shard.positions[part] for shard, part in zip(shards, sets, strict=True)]),
        keys,
        np.concatenate([shard.values[part] for shard, part in zip(shards, elements, strict=True)]),
    )


def only(packed: Packed, keep: NDArray[np.bool_]) -> Packed:
    """Leave out elements, and sets that become empty; subjects stay."""
    rows, sets, filled = keep_elements(keep, packed.row_offsets, packed.set_offsets)
    chosen = keep.nonzero()[0]  # taken by number: half the time of taking by a mask
    return Packed(
        rows, sets, packed.positions[filled], packed.keys.take(chosen), packed.values.take(chosen)
    )


def offsets(sizes: Array) -> Array:
    """First item of each range, and the end, when ranges of these sizes are joined.

    >>> offsets(np.array([2, 3])).tolist()
    [0, 2, 5]
    """
    ends = np.zeros(len(sizes) + 1, dtype=np.int64)
    sizes.cumsum(out=ends[1:])
    return ends


def ranges(starts: Array, sizes: Array) -> Array:
    """`starts[0], starts[0] + 1, ...` for each range, one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    index: Array = (starts - (sizes.cumsum() - sizes)).repeat(sizes)
    index += np.arange(len(index))
    return index


def _slices(starts: Array, sizes: Array) -> list[slice]:
    return list(map(slice, starts.tolist(), (starts + sizes).tolist()))


def _fit(
    set_offsets: Array, first: Array, end: Array, limit: int, truncate: Truncate
) -> tuple[Array, Array]:
    """The last (or first) sets of each range that fit the limit, at least one."""
    if truncate == "latest":
        fitting = np.searchsorted(set_offsets, set_offsets[end] - limit, side="left")
        return np.clip(fitting, first, end - 1), end
    fitting = np.searchsorted(set_offsets, set_offsets[first] + limit, side="right") - 1
    return first, np.clip(fitting, first + 1, end)
