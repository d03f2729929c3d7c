"""Events of whole subjects, cleaned by the rules that hold for every source, as packed sets.

Rows that cannot be used are left out and counted by reason. Events of one subject at one minute
(or in one window, or with one given number) are a set; sets stand in time order, and elements in
the order of their codes, so that the same events always make the same bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from setvae_cli.sources.census import mix
from setvae_cli.sources.records import Records
from setvae_cli.store.format import Packed

TEN_YEARS = 10 * 365.25 * 24 * 60  # minutes
MISSING_SUBJECT, EMPTY_SUBJECT = "missing subject id", "empty subject id"
INFINITE, TOO_LARGE = "infinite value", "value out of float32 range"
EMPTY_VALUE = "empty value"
SERIOUS = (MISSING_SUBJECT, EMPTY_SUBJECT, INFINITE, TOO_LARGE)  # above 5 % of rows: refused
_FLOAT32_MAX = float(np.finfo(np.float32).max)

Array = NDArray[Any]


@dataclass(frozen=True)
class Cleaned:
    """What a part became.

    Attributes:
        packed: All its subjects, also those without events; keys are places in `codes`, and NaN
            stands for a missing value.
        codes: Names that occur.
        valued: For each code, whether any event of it has a value.
        fingerprints: A number a subject that depends on its events only, uint64.
        rows: Rows read, those dropped included.
        unsorted: Subjects whose events were not in time order.
        drops: Rows left out, by reason.
    """

    packed: Packed
    codes: tuple[str, ...]
    valued: NDArray[np.bool_]
    fingerprints: NDArray[np.uint64]
    rows: int
    unsorted: int
    drops: dict[str, int]


@dataclass(frozen=True)
class _Columns:
    subject: Array
    time: Array
    code: Array
    value: Array  # NaN: none
    set: Array | None
    minute: Array | None = None  # the time given, where `time` became the position of a set

    def take(self, index: Array) -> _Columns:
        return _Columns(
            self.subject[index],
            self.time[index],
            self.code[index],
            self.value[index],
            None if self.set is None else self.set[index],
            None if self.minute is None else self.minute[index],
        )

    def reorder(self, index: Array) -> _Columns:
        """Events moved inside their sets: what names the set stays."""
        minute = None if self.minute is None else self.minute[index]
        return replace(self, code=self.code[index], value=self.value[index], minute=minute)


def pack_records(
    records: Records, *, set_window: float | None = None, allow_long: bool = False
) -> Cleaned:
    """Clean the events of a part and pack them.

    Args:
        records: Whole subjects.
        set_window: Minutes that make one set; its position is the start of the window.
        allow_long: Keep events later than ten years.
    """
    columns, codes = _columns(records.events)
    drops = Counter(records.drops)
    rows = len(columns.time) + sum(records.drops.values())
    usable = _usable(columns, codes, records, allow_long, drops)
    if not usable.all():
        columns = columns.take(np.flatnonzero(usable))
    columns = _with_float32(columns)
    unsorted = _unsorted_subjects(columns)
    columns, starts = _in_sets(columns, set_window, drops)
    packed = _pack(columns, starts, records.subjects.num_rows)
    codes, packed = _used_codes(codes, packed)
    return Cleaned(
        packed=packed,
        codes=codes,
        valued=np.bincount(packed.keys[~np.isnan(packed.values)], minlength=len(codes)) > 0,
        fingerprints=_fingerprints(packed, codes),
        rows=rows,
        unsorted=unsorted,
        drops={reason: int(count) for reason, count in drops.items() if count},
    )


def keep_elements(
    keep: NDArray[np.bool_], row_offsets: Array, set_offsets: Array
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Offsets after elements are left out; sets that become empty vanish, rows stay.

    Returns:
        The new row offsets and set offsets, int64, from 0; and which sets are left.
    """
    kept = np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))
    bounds = kept[set_offsets]
    filled = bounds[1:] > bounds[:-1]
    before = np.concatenate(([0], np.cumsum(filled, dtype=np.int64)))
    return before[row_offsets], np.append(bounds[:-1][filled], bounds[-1]), filled


def _columns(events: pa.Table) -> tuple[_Columns, tuple[str, ...]]:
    """Events as arrays; a missing code is -1, codes are numbered in the order of their names."""
    code = _flat(events["code"])
    if not pa.types.is_dictionary(code.type):
        code = code.dictionary_encode()
    codes, place = _sorted_names(code.dictionary.to_pylist())
    numbers = place[code.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
    columns = _Columns(
        events["subject"].to_numpy(),
        events["time"].to_numpy(),
        numbers,
        events["value"].to_numpy().astype(np.float64),
        events["set"].to_numpy() if "set" in events.column_names else None,
    )
    return columns, codes


def _sorted_names(names: list[str | None]) -> tuple[tuple[str, ...], Array]:
    """Distinct names, sorted, and the place of each name given; the last place is for null."""
    distinct = sorted({name or "" for name in names})
    number = {name: index for index, name in enumerate(distinct)}
    place = np.array([*(number[name or ""] for name in names), -1], dtype=np.int32)
    return tuple(distinct), place


def _flat(column: pa.ChunkedArray) -> pa.Array:
    merged = column.unify_dictionaries().combine_chunks()
    return merged.chunk(0) if isinstance(merged, pa.ChunkedArray) else merged


def _usable(
    columns: _Columns,
    codes: tuple[str, ...],
    records: Records,
    allow_long: bool,
    drops: Counter[str],
) -> NDArray[np.bool_]:
    """Rows that keep every rule; each of the others is counted under the first it breaks."""
    time, value = columns.time, columns.value
    empty = _flat(records.events["value"]).is_null().to_numpy(zero_copy_only=False)
    nameless = np.array([not name for name in codes] + [True])
    cut = _prediction_times(records.subjects, columns.subject)
    rules = {
        "missing code": nameless[columns.code],
        "missing time": ~np.isfinite(time),
        "negative time": time < 0,
        "over ten years": (time > TEN_YEARS) & (not allow_long),
        "after the prediction time": time > cut,
        "not a number": np.isnan(value) & ~empty,
        INFINITE: np.isinf(value),
        TOO_LARGE: np.abs(value) > _FLOAT32_MAX,
    }
    usable = np.ones(len(time), dtype=bool)
    for reason, broken in rules.items():
        if broken.any():
            drops[reason] += int(np.count_nonzero(usable & broken))
            usable &= ~broken
    return usable


def _prediction_times(subjects: pa.Table, subject: Array) -> Array | float:
    """The prediction time of each event's subject; infinite: none."""
    if "prediction_time" not in subjects.column_names:
        return np.inf
    times = subjects["prediction_time"].cast(pa.float64()).fill_null(np.inf)
    return np.asarray(times.to_numpy())[subject]


def _with_float32(columns: _Columns) -> _Columns:
    """Times and values as they are stored; minus zero becomes zero, a missing value NaN."""
    time, value = columns.time.astype(np.float32), columns.value.astype(np.float32)
    zero = np.float32(0)
    return _Columns(columns.subject, time + zero, columns.code, value + zero, columns.set)


def _unsorted_subjects(columns: _Columns) -> int:
    backwards = (columns.time[1:] < columns.time[:-1]) & _same(columns.subject)
    return len(np.unique(columns.subject[1:][backwards]))


def _in_sets(
    columns: _Columns, window: float | None, drops: Counter[str]
) -> tuple[_Columns, NDArray[np.int64]]:
    """Events in storage order without duplicates; `time` becomes the position of the set.

    Where equal minutes make sets, one code has one value a set: the last one given. In windows
    and in given sets a code may repeat, and only exact repetitions at one minute are left out.

    Returns:
        The events, and the first event of each set.
    """
    if window is not None:
        columns = _windows(columns, window)
    elif columns.set is not None:
        columns = _given_sets(columns, columns.set)
    columns, number = _by_set(columns)
    order = _inside_sets(columns, number)
    if order is not None:
        columns = columns.reorder(order)
        dropped = np.append(_again(columns, number), False)
        columns, number = _without(columns, dropped, drops), number[~dropped]
    return columns, np.flatnonzero(np.diff(number, prepend=-1))


def _again(columns: _Columns, number: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which events, but the last, the next one repeats."""
    again = _same(number) & _same(columns.code)
    if columns.minute is not None:
        missing = np.isnan(columns.value)
        again &= _same(columns.minute)
        again &= _same(columns.value) | (missing[1:] & missing[:-1])
    return again


def _by_set(columns: _Columns) -> tuple[_Columns, NDArray[np.int64]]:
    """Events by subject, time and given set, each with the number of its set in that order."""
    keys = [key for key in (columns.subject, columns.time, columns.set) if key is not None]
    behind = np.zeros(len(columns.time[1:]), dtype=bool)
    equal = ~behind
    for key in keys:
        behind |= equal & (key[1:] < key[:-1])
        equal &= _same(key)
    if behind.any():
        return _by_set(columns.take(_order_of_sets(columns)))
    number = np.cumsum(np.append(False, ~equal)[: len(columns.time)], dtype=np.int64)
    return columns, number


def _order_of_sets(columns: _Columns) -> Array:
    """A stable order by subject, time and given set; one integer key sorts faster than two."""
    if columns.set is not None:
        return np.lexsort((columns.set, columns.time, columns.subject))
    minutes = columns.time.view(np.int32)  # ascends with the time, which is at least 0
    return np.argsort(columns.subject.astype(np.int64) << 32 | minutes, kind="stable")


def _inside_sets(columns: _Columns, number: NDArray[np.int64]) -> Array | None:
    """The order by set and code, and then, for the choice among duplicates, by value.

    Where equal minutes make sets, missing values stand before the others, which keep the order
    given; otherwise values and then minutes ascend.

    Returns:
        The place that each event comes from; None: all stand in order already, none twice.
    """
    key = number * (int(columns.code.max(initial=0)) + 1) + columns.code
    if (key[1:] > key[:-1]).all():
        return None
    if columns.minute is not None:
        return np.lexsort((columns.minute, columns.value, key))
    return np.argsort(2 * key + ~np.isnan(columns.value), kind="stable")


def _without(columns: _Columns, dropped: NDArray[np.bool_], drops: Counter[str]) -> _Columns:
    """Leave out rows that a later row of their group replaces, counted by how they differ."""
    if not dropped.any():
        return columns
    survivor = np.flatnonzero(~dropped)
    lost = np.flatnonzero(dropped)
    kept = survivor[np.searchsorted(survivor, lost)]
    mine, theirs = columns.value[lost], columns.value[kept]
    empty = np.isnan(mine) & ~np.isnan(theirs)
    equal = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    drops[EMPTY_VALUE] += int(empty.sum())
    drops["exact duplicate"] += int(equal.sum())
    drops["conflicting duplicate, the last one kept"] += int((~empty & ~equal).sum())
    return columns.take(survivor)


def _windows(columns: _Columns, window: float) -> _Columns:
    number = np.floor(columns.time.astype(np.float64) / window)
    start = (number * window).astype(np.float32)
    return replace(columns, time=start, set=number.astype(np.int64), minute=columns.time)


def _given_sets(columns: _Columns, number: Array) -> _Columns:
    """The position of a given set is its first time."""
    order = np.lexsort((columns.time, number, columns.subject))
    columns, number = columns.take(order), number[order]
    first = np.append(True, ~(_same(columns.subject) & _same(number)))[: len(number)]
    position = columns.time[first][np.cumsum(first) - 1]
    return replace(columns, time=position, minute=columns.time)


def _same(sorted_array: Array) -> NDArray[np.bool_]:
    return np.asarray(sorted_array[1:] == sorted_array[:-1])


def _pack(columns: _Columns, starts: NDArray[np.int64], n_subjects: int) -> Packed:
    per_row = np.bincount(columns.subject[starts], minlength=n_subjects)
    return Packed(
        row_offsets=np.concatenate(([0], np.cumsum(per_row))),
        set_offsets=np.append(starts, len(columns.time)),
        positions=columns.time[starts].reshape(-1, 1),
        keys=columns.code,
        values=columns.value,
    )


def _used_codes(codes: tuple[str, ...], packed: Packed) -> tuple[tuple[str, ...], Packed]:
    used = np.flatnonzero(np.bincount(packed.keys, minlength=len(codes)))
    place = np.full(len(codes) + 1, -1, dtype=np.int32)
    place[used] = np.arange(len(used))
    keys = place[packed.keys]
    names = tuple(codes[index] for index in used)
    return names, Packed(
        packed.row_offsets, packed.set_offsets, packed.positions, keys, packed.values
    )


def _fingerprints(packed: Packed, codes: tuple[str, ...]) -> NDArray[np.uint64]:
    """Sum over a subject's events of a hash of (code name, time, value)."""
    names = mix(np.array([_name_hash(name) for name in codes], dtype=np.uint64))
    times = packed.positions[:, 0].view(np.uint32).astype(np.uint64) << np.uint64(32)
    mixed = np.repeat(times, np.diff(packed.set_offsets))
    mixed |= np.where(np.isnan(packed.values), np.float32(np.nan), packed.values).view(np.uint32)
    mixed ^= names[packed.keys]
    total = np.concatenate(([np.uint64(0)], np.cumsum(mix(mixed))))
    ends = np.asarray(packed.set_offsets)[packed.row_offsets]
    return np.asarray(total[ends[1:]] - total[ends[:-1]])


@lru_cache(100_000)
def _name_hash(name: str) -> int:
    """FNV-1a, 64 bits: the same on every machine, unlike `hash`."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state
