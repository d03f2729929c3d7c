"""Where the rows of each subject lie in a table: one pass over its ids, in memory by subjects.

A subject is counted by a 64-bit hash of its id. Two ids with one hash would be kept together in
one part, which does no harm: parts tell subjects apart by their ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from setvae_cli.sources.columns import places

_PENDING = 1_000_000  # entries to wait for before they are merged into the subjects

Array = NDArray[Any]


@dataclass(frozen=True)
class _Found:
    """Subjects by their keys: the first row of each and the number of its rows."""

    keys: Array
    first: Array
    rows: Array


@dataclass(frozen=True)
class Census:
    """The subjects of a table.

    Attributes:
        keys: Hash of each subject's id, ascending.
        start: Where its rows would begin, if all subjects stood together in the order of their
            first rows.
        together: Whether they do.
        rows: Rows of the table.
    """

    keys: NDArray[np.uint64]
    start: NDArray[np.int64]
    together: bool
    rows: int

    def cuts(self, size: int) -> NDArray[np.int64]:
        """Boundaries of parts in that order, from 0 to the number of rows.

        Args:
            size: The least rows of a part, which ends with the subject that reaches them.
        """
        starts = np.sort(self.start)
        cuts = [0]
        while self.rows - cuts[-1] > size:
            after = np.searchsorted(starts, cuts[-1] + size)
            if after == len(starts):
                break
            cuts.append(int(starts[after]))
        return np.array([*cuts, self.rows])

    def parts(self, cuts: NDArray[np.int64]) -> NDArray[np.uint16]:
        """The part of each subject, in the order of the keys."""
        return (np.searchsorted(cuts, self.start, side="right") - 1).astype(np.uint16)

    def find(self, ids: pa.DictionaryArray) -> NDArray[np.int64]:
        """The place of each row's subject among the keys."""
        keys = _keys(ids)
        order = np.argsort(keys)  # neighbours are found in one place of the memory
        place = np.empty(len(keys), np.int64)
        place[order] = np.searchsorted(self.keys, keys[order])
        of_rows: NDArray[np.int64] = np.minimum(place, len(self.keys) - 1)[places(ids)]
        return of_rows


@dataclass
class _Count:
    row: int = 0
    runs: int = 0
    last: Array = field(default_factory=lambda: np.zeros(0, np.uint64))
    found: list[_Found] = field(default_factory=list)

    def add(self, ids: pa.DictionaryArray) -> None:
        if not len(ids):
            return
        number = places(ids)
        keys = _keys(ids)
        starts = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
        lengths = np.diff(starts, append=len(number))
        self.runs += len(starts) - int(np.array_equal(self.last, keys[number[:1]]))
        self.last = keys[number[-1:]]
        first = np.full(len(keys), -1)
        first[number[starts[::-1]]] = starts[::-1]
        rows = np.bincount(number[starts] % len(keys), lengths, len(keys)).astype(np.int64)
        seen = np.flatnonzero(rows)
        self.found.append(_Found(keys[seen], first[seen] + self.row, rows[seen]))
        self.row += len(number)
        if sum(len(each.keys) for each in self.found[1:]) > max(_PENDING, len(self.found[0].keys)):
            self.found = [_merged(self.found)]


def take_census(batches: Iterable[pa.DictionaryArray]) -> Census:
    """Count the subjects of a table.

    Args:
        batches: Ids of all rows in order; null: none. Names in a dictionary are distinct.
    """
    count = _Count()
    for ids in batches:
        count.add(ids)
    found = _merged(count.found)
    order = np.argsort(found.first)
    starts = np.cumsum(found.rows[order]) - found.rows[order]
    start = np.empty_like(starts)
    start[order] = starts
    return Census(found.keys, start, count.runs == len(found.keys), count.row)


def hashes(texts: pa.StringArray) -> NDArray[np.uint64]:
    """A hash of each text, the same on every machine: the sum of mixed (place, byte)."""
    if not len(texts):
        return np.zeros(0, np.uint64)
    _, offsets, content = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if bounds[0] == bounds[-1]:
        return mix(np.zeros(len(texts), np.uint64))
    data = np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]].astype(np.uint64)
    bounds = bounds.astype(np.int64) - bounds[0]
    lengths = np.diff(bounds)
    place = (np.arange(len(data)) - np.repeat(bounds[:-1], lengths)).astype(np.uint64)
    total = np.append(np.uint64(0), np.cumsum(mix((place + np.uint64(1)) << np.uint64(8) | data)))
    return mix(total[bounds[1:]] - total[bounds[:-1]] + lengths.astype(np.uint64))


def _merged(found: list[_Found]) -> _Found:
    keys = np.concatenate([each.keys for each in found])
    order = np.argsort(keys)
    keys = keys[order]
    heads = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    first = np.concatenate([each.first for each in found])[order]
    rows = np.concatenate([each.rows for each in found])[order]
    return _Found(keys[heads], np.minimum.reduceat(first, heads), np.add.reduceat(rows, heads))


def _keys(ids: pa.DictionaryArray) -> NDArray[np.uint64]:
    """Hash of each name in the dictionary; the last is for rows without an id."""
    return np.append(hashes(ids.dictionary), np.uint64(0))


def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
