"""Plain summaries of each subject's events, which every model of sequences has to beat.

Of each numeric or binary code the mean, minimum, maximum, standard deviation, count, first and
last value, and the mean of the later half of the time scale; of each category the count, and the
share of each class; of a code without values the count. In raw units; NaN where nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.gather import find_windows, gather
from setvae_cli.store.reader import Store
from setvae_cli.store.vocabulary import Vocabulary

STATISTICS = ("mean", "min", "max", "std", "count", "first", "last", "late mean")
_COUNT = STATISTICS.index("count")
_BLOCK = 4_000_000  # elements that are summarised at once: bounds memory

Array = NDArray[Any]


@dataclass(frozen=True)
class Features:
    """A table of numbers.

    Attributes:
        names: Of the columns.
        values: float32 [subjects, columns]; NaN: not known.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class _Events:
    """Events of some subjects, those of one subject and code together and in time order."""

    pair: Array  # subject * codes + code, ascending
    late: Array  # whether the event lies in the later half of the time scale
    value: Array  # float64, NaN: none

    def where(self, chosen: Array) -> _Events:
        return _Events(self.pair[chosen], self.late[chosen], self.value[chosen])


def summary_features(
    store: Store, rows: NDArray[np.int64], vocabulary: Vocabulary, *, time_scale: float
) -> Features:
    """Summarise the events of some rows.

    Args:
        store: Where the events are.
        rows: Row numbers; the table keeps their order.
        vocabulary: Codes, their kinds and the classes of categories. As they are fitted on
            training rows, nothing else decides which columns there are.
        time_scale: Minutes, of which the later half is summarised once more.
    """
    parts = [
        _table(_events(store, some, vocabulary, time_scale), len(some), vocabulary)
        for some in _blocks(store, rows)
    ]
    return Features(_names(vocabulary), np.concatenate(parts))


def telling_columns(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Columns that differ between some of these subjects; of equal columns the first.

    A code that everybody has once makes five equal columns.
    """
    known = np.ascontiguousarray(np.where(np.isnan(values), np.float32(np.inf), values).T)
    varied = np.flatnonzero((known != known[:, :1]).any(axis=1))
    _, first = np.unique(known[varied], axis=0, return_index=True)
    return np.asarray(varied[np.sort(first)])


def _blocks(store: Store, rows: Array) -> Iterator[Array]:
    """The rows, as many at a time as have a block of elements together."""
    number = np.cumsum(store.columns.n_elements[rows]) // _BLOCK
    yield from np.split(rows, np.flatnonzero(np.diff(number)) + 1)


def _events(store: Store, rows: Array, vocabulary: Vocabulary, time_scale: float) -> _Events:
    packed = gather(store, find_windows(store, rows, limit=None, truncate="latest"))
    code = vocabulary.match(store.vocabulary.codes)[packed.keys]
    sets = np.diff(packed.set_offsets)
    bounds = packed.set_offsets[packed.row_offsets]
    pair = np.repeat(np.arange(len(rows)), np.diff(bounds)) * len(vocabulary.codes) + code
    late = np.repeat(packed.positions[:, 0] >= time_scale / 2, sets)
    events = _Events(pair, late, packed.values.astype(np.float64)).where(code >= 0)
    return events.where(np.argsort(events.pair, kind="stable"))


def _table(events: _Events, subjects: int, vocabulary: Vocabulary) -> NDArray[np.float32]:
    """All columns of these subjects, in the order of `_names`."""
    codes = len(vocabulary.codes)
    flat = np.full((len(STATISTICS), subjects * codes), np.nan)
    flat[_COUNT] = np.bincount(events.pair, minlength=subjects * codes)
    valued = events.where(~np.isnan(events.value))
    _fill(flat, valued)
    table = flat.reshape(len(STATISTICS), subjects, codes)
    columns = [table[statistic, :, code] for code, statistic in _numeric(vocabulary)]
    columns += [table[_COUNT, :, code] for code in _uncounted(vocabulary)]
    columns += _shares(valued, table[_COUNT], vocabulary)
    return np.stack(columns, axis=1).astype(np.float32)


def _fill(table: Array, events: _Events) -> None:
    """Every statistic but the count, of the pairs that have values."""
    if not len(events.pair):
        return
    begins = np.flatnonzero(np.diff(events.pair, prepend=-1))
    pair, sizes = events.pair[begins], np.diff(begins, append=len(events.pair))
    mean = np.add.reduceat(events.value, begins) / sizes
    squares = np.add.reduceat((events.value - np.repeat(mean, sizes)) ** 2, begins)
    found = {
        "mean": mean,
        "min": np.minimum.reduceat(events.value, begins),
        "max": np.maximum.reduceat(events.value, begins),
        "std": np.sqrt(squares / sizes),
        "first": events.value[begins],
        "last": events.value[begins + sizes - 1],
    }
    for name, values in found.items():
        table[STATISTICS.index(name), pair] = values
    late = events.where(events.late)
    total = np.bincount(late.pair, late.value, minlength=table.shape[1])
    number = np.bincount(late.pair, minlength=table.shape[1])
    table[-1, number > 0] = total[number > 0] / number[number > 0]


def _shares(events: _Events, counts: Array, vocabulary: Vocabulary) -> list[Array]:
    """For each class of each category its share of the subject's events of that code."""
    subjects, codes = counts.shape
    found = []
    for code in _categories(vocabulary):
        mine = events.where(events.pair % codes == code)
        for one in vocabulary.quantiles[code].tolist():
            chosen = mine.pair[mine.value == one] // codes
            number = np.bincount(chosen, minlength=subjects)
            found.append(number / np.maximum(counts[:, code], 1))
    return found


def _names(vocabulary: Vocabulary) -> tuple[str, ...]:
    names = [f"{vocabulary.codes[code]} {STATISTICS[s]}" for code, s in _numeric(vocabulary)]
    names += [f"{vocabulary.codes[code]} count" for code in _uncounted(vocabulary)]
    names += [
        f"{vocabulary.codes[code]} {one:g} share"
        for code in _categories(vocabulary)
        for one in vocabulary.quantiles[code].tolist()
    ]
    return tuple(names)


def _numeric(vocabulary: Vocabulary) -> Iterator[tuple[int, int]]:
    """Code and statistic of each column of numeric and binary codes."""
    for code, kind in enumerate(vocabulary.kinds):
        if kind in ("numeric", "binary") and vocabulary.counts[code] > 0:
            yield from ((code, statistic) for statistic in range(len(STATISTICS)))


def _uncounted(vocabulary: Vocabulary) -> list[int]:
    """Codes of which no other column holds the count."""
    kinds = enumerate(vocabulary.kinds)
    seen = vocabulary.counts > 0
    return [code for code, kind in kinds if kind in ("presence", "category") and seen[code]]


def _categories(vocabulary: Vocabulary) -> list[int]:
    kinds = enumerate(vocabulary.kinds)
    return [code for code, kind in kinds if kind == "category" and vocabulary.counts[code] > 0]
