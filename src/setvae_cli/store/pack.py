"""Events of whole subjects, cleaned by the rules that hold for every source, as packed sets.

Rows that cannot be used are left out and counted by reason. Events of one subject at one minute
(or in one window, or with one given number) are a set; sets stand in time order, and elements in
the order of their codes, so that the same events always make the same bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
    columns = _with_float32(columns.take(np.flatnonzero(usable)))
    unsorted = _unsorted_subjects(columns)
    columns = _in_sets(columns, set_window, drops)
    packed = _pack(columns, records.subjects.num_rows)
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
    cut = _prediction_times(records.subjects)[columns.subject]
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
        drops[reason] += int(np.count_nonzero(usable & broken))
        usable &= ~broken
    return usable


def _prediction_times(subjects: pa.Table) -> Array:
    if "prediction_time" not in subjects.column_names:
        return np.full(subjects.num_rows, np.inf)
    times = subjects["prediction_time"].cast(pa.float64()).fill_null(np.inf)
    return np.asarray(times.to_numpy())


def _with_float32(columns: _Columns) -> _Columns:
    """Times and values as they are stored; minus zero becomes zero, a missing value NaN."""
    value = columns.value.astype(np.float32) + np.float32(0)
    return _Columns(
        columns.subject, columns.time.astype(np.float32), columns.code, value, columns.set
    )


def _unsorted_subjects(columns: _Columns) -> int:
    backwards = (np.diff(columns.time) < 0) & (np.diff(columns.subject) == 0)
    return len(np.unique(columns.subject[1:][backwards]))


def _in_sets(columns: _Columns, window: float | None, drops: Counter[str]) -> _Columns:
    """Events in storage order without duplicates; `time` becomes the position of the set.

    Where equal minutes make sets, one code has one value a set: the last one given. In windows
    and in given sets a code may repeat, and only exact repetitions at one minute are left out.
    """
    if window is not None:
        columns = _windows(columns, window)
    elif columns.set is not None:
        columns = _given_sets(columns, columns.set)
    number = np.zeros_like(columns.subject) if columns.set is None else columns.set
    keys = (columns.code, number, columns.time, columns.subject)
    if columns.minute is None:
        order = np.lexsort((~np.isnan(columns.value), *keys))
    else:
        order = np.lexsort((columns.minute, columns.value, *keys))
    columns, number = columns.take(order), number[order]
    again = _same(columns.subject) & _same(columns.time) & _same(number) & _same(columns.code)
    if columns.minute is not None:
        missing = np.isnan(columns.value)
        again &= _same(columns.minute)
        again &= _same(columns.value) | (missing[1:] & missing[:-1])
    return _without(columns, np.append(again, False)[: len(number)], drops)


def _without(columns: _Columns, dropped: NDArray[np.bool_], drops: Counter[str]) -> _Columns:
    """Leave out rows that a later row of their group replaces, counted by how they differ."""
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


def _pack(columns: _Columns, n_subjects: int) -> Packed:
    n = len(columns.time)
    joined = _same(columns.subject) & _same(columns.time)
    if columns.set is not None:
        joined &= _same(columns.set)
    starts = np.flatnonzero(np.append(True, ~joined)[:n])
    per_row = np.bincount(columns.subject[starts], minlength=n_subjects)
    return Packed(
        row_offsets=np.concatenate(([0], np.cumsum(per_row))),
        set_offsets=np.append(starts, n),
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
    names = np.array([_name_hash(name) for name in codes], dtype=np.uint64)
    times = np.repeat(packed.positions[:, 0], np.diff(packed.set_offsets))
    pair = times.view(np.uint32).astype(np.uint64) << np.uint64(32)
    value = np.where(np.isnan(packed.values), np.float32(np.nan), packed.values)
    mixed = _mix(_mix(names[packed.keys]) ^ (pair | value.view(np.uint32)))
    total = np.concatenate(([np.uint64(0)], np.cumsum(mixed, dtype=np.uint64)))
    ends = np.asarray(packed.set_offsets)[packed.row_offsets]
    return np.asarray(total[ends[1:]] - total[ends[:-1]])


def _name_hash(name: str) -> int:
    """FNV-1a, 64 bits: the same on every machine, unlike `hash`."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
