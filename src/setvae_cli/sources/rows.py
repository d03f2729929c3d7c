"""Rows of a long table, one event a row, as records of whole subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setvae_cli.errors import InputError
from setvae_cli.sources.columns import (
    WrongColumn,
    as_ids,
    as_numbers,
    as_text,
    encoded,
    is_text,
    places,
    plain,
    without_missing,
)
from setvae_cli.sources.events import in_time_order, since_first, with_static
from setvae_cli.sources.records import Records
from setvae_cli.sources.roles import Roles
from setvae_cli.sources.times import as_times

SPLITS = {
    "train": "train", "training": "train",
    "valid": "validation", "val": "validation", "validation": "validation", "tuning": "validation",
    "test": "test", "held_out": "test",
}  # fmt: skip
T = TypeVar("T")
UNSORTED = "the rows of some subjects were not in time order and were sorted"


def rows_to_records(
    table: pa.Table,
    roles: Roles,
    where: str,
    *,
    subjects: Sequence[str] | None = None,
    numbers: frozenset[str] = frozenset(),
) -> Records:
    """Turn rows of whole subjects into records.

    Args:
        table: Holds at least the columns of `roles`.
        roles: Column of each role.
        where: The table, as the person wrote it.
        subjects: All subjects, also those without a row; default: those of the rows.
        numbers: Attributes of text that are numbers.

    Raises:
        InputError: A column is not of its role's type, or varies where it must be constant.
    """
    rows, drops = _usable(table, roles, where)
    names, subject = _subjects(rows.ids, subjects)
    static = _static(rows.table, roles, subject, len(names), where, numbers)
    events, dated = _events(rows, roles, subject, where)
    events, unsorted = in_time_order(events)
    if dated:
        events = since_first(events)
    events = with_static(events, static)
    columns = {"subject_id": names}
    columns |= _membership(rows.table, roles, subject, len(names), where)
    columns |= {f"attribute.{name}": column for name, column in static.items()}
    warnings = (*roles.warnings, UNSORTED) if unsorted else roles.warnings
    return Records(pa.table(columns), events, drops, warnings)


def constant(values: pa.Array, subject: pa.Array, n_subjects: int, where: str) -> pa.Array:
    """The one value of each subject, null where it has none.

    Args:
        values: One a row, [rows].
        subject: Number of each row's subject, int32 [rows].
        n_subjects: How many subjects there are.
        where: What to name in an error.

    Raises:
        InputError: Some subject has two different values.
    """
    words = pc.dictionary_encode(values)
    codes = pc.fill_null(words.indices, -1).to_numpy(zero_copy_only=False)
    number = subject.to_numpy()
    known = np.flatnonzero(codes >= 0)
    chosen = np.full(n_subjects, -1, dtype=np.int64)
    chosen[number[known]] = codes[known]
    differing = np.unique(number[known[codes[known] != chosen[number[known]]]]).size
    if differing:
        raise InputError(
            f"differs within {differing:,} subjects, expected one value a subject",
            where=where,
            mend="make it constant, or leave it out",
        )
    return words.dictionary.take(pa.array(np.maximum(chosen, 0), mask=chosen < 0))


def read_role(
    convert: Callable[[pa.ChunkedArray], T], table: pa.Table, column: str, role: str, where: str
) -> T:
    try:
        return convert(table[column])
    except WrongColumn as error:
        raise InputError(
            f"column '{column}' {error}",
            where=where,
            mend=f"map another one with --map {role}=COLUMN",
        ) from error


@dataclass(frozen=True)
class _Rows:
    """Rows with a subject, a time and a code."""

    table: pa.Table
    ids: pa.DictionaryArray
    codes: pa.DictionaryArray


def _usable(table: pa.Table, roles: Roles, where: str) -> tuple[_Rows, dict[str, int]]:
    """Leave out rows without a subject, a time or a code, counted."""
    ids = read_role(partial(encoded, convert=as_ids), table, roles.subject, "subject", where)
    ids = _by_first_row(ids)
    codes = read_role(partial(encoded, convert=as_text), table, roles.code, "code", where)
    reasons = {
        "missing subject id": ids.indices.is_null(),
        "empty subject id": _blank(ids),
        "missing code": codes.indices.is_null(),
        "empty code": _blank(codes),
        "missing time": read_role(_is_missing, table, roles.time, "time", where),
    }
    bad = np.zeros(table.num_rows, dtype=bool)
    drops: dict[str, int] = {}
    for reason, found in reasons.items():
        if pc.any(found).as_py():
            here = pc.fill_null(found, False).to_numpy(zero_copy_only=False) & ~bad
            if here.any():
                drops[reason] = int(here.sum())
            bad |= here
    if not drops:
        return _Rows(table, ids, codes), drops
    good = pa.array(~bad)
    return _Rows(table.filter(good), ids.filter(good), codes.filter(good)), drops


def _blank(array: pa.DictionaryArray) -> pa.BooleanArray:
    """Rows whose text is empty or spaces."""
    blank = pc.equal(pc.utf8_trim_whitespace(array.dictionary), "")
    if not pc.any(blank).as_py():
        return pa.array([], pa.bool_())
    return blank.take(array.indices)


def _is_missing(column: pa.ChunkedArray) -> pa.Array:
    if not pa.types.is_dictionary(column.type):
        return pc.is_null(without_missing(plain(column)), nan_is_null=True)
    pieces = []
    for chunk in column.chunks:
        values = without_missing(plain(pa.chunked_array([chunk.dictionary])))
        missing = pc.is_null(values, nan_is_null=True).take(chunk.indices)
        pieces.append(missing.fill_null(True))
    return pa.chunked_array(pieces, pa.bool_()).combine_chunks()


def _subjects(
    ids: pa.DictionaryArray, everyone: Sequence[str] | None
) -> tuple[pa.StringArray, pa.Int32Array]:
    """All subjects, by default those of the rows; and the number of each row's."""
    if everyone is not None:
        names = pa.array(everyone, pa.string())
        return names, pc.cast(pc.index_in(ids.dictionary, names), pa.int32()).take(ids.indices)
    used = np.bincount(places(ids), minlength=len(ids.dictionary)) > 0
    number = pa.array(np.cumsum(used, dtype=np.int32) - np.int32(1))
    return ids.dictionary.filter(pa.array(used)), number.take(ids.indices)


def _by_first_row(ids: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same ids, the dictionary in the order of first rows, also of those left out later."""
    numbered = ids.indices.dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        numbered.indices, ids.dictionary.take(numbered.dictionary)
    )


def _events(rows: _Rows, roles: Roles, subject: pa.Array, where: str) -> tuple[pa.Table, bool]:
    """The events in the table's order, and whether their times are dates."""
    table = rows.table
    time, dated = read_role(as_times, table, roles.time, "time", where)
    nothing = pa.nulls(table.num_rows, pa.float64())
    columns = {
        "subject": subject,
        "time": pa.array(time),
        "code": rows.codes,
        "value": read_role(as_numbers, table, roles.value, "value", where)
        if roles.value
        else nothing,
    }
    if roles.set:
        columns["set"] = read_role(_set_numbers, table, roles.set, "set", where)
    return pa.table(columns), dated


def _membership(
    table: pa.Table, roles: Roles, subject: pa.Array, n_subjects: int, where: str
) -> dict[str, pa.Array]:
    """Group and split of each subject, where there are such columns."""
    found = {}
    if roles.group:
        groups = read_role(partial(encoded, convert=as_ids), table, roles.group, "group", where)
        place = f"{where}: column '{roles.group}'"
        found["group_id"] = constant(groups, subject, n_subjects, place)
    if roles.split:
        splits = read_role(
            partial(encoded, convert=_split_names), table, roles.split, "split", where
        )
        place = f"{where}: column '{roles.split}'"
        found["split"] = constant(splits, subject, n_subjects, place)
    return found


def _static(
    table: pa.Table,
    roles: Roles,
    subject: pa.Array,
    n_subjects: int,
    where: str,
    numbers: frozenset[str],
) -> dict[str, pa.Array]:
    """Value of each attribute of each subject."""
    found = {}
    for name, column in roles.attributes.items():
        convert = _number_attribute if column in numbers else _attribute
        values = read_role(
            partial(encoded, convert=convert), table, column, f"attribute:{name}", where
        )
        found[name] = constant(values, subject, n_subjects, f"{where}: column '{column}'")
    return found


def _attribute(column: pa.ChunkedArray) -> pa.Array:
    """Text, or numbers as float64 with null for NaN."""
    array = plain(column)
    return without_missing(array) if is_text(array.type) else _number_attribute(column)


def _number_attribute(column: pa.ChunkedArray) -> pa.Array:
    numbers = as_numbers(column)
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _split_names(column: pa.ChunkedArray) -> pa.Array:
    words = pc.dictionary_encode(without_missing(as_text(column)))
    names = [SPLITS.get(name.strip().lower()) for name in words.dictionary.to_pylist()]
    if None in names:
        raise WrongColumn("holds other words than train, validation and test")
    return pa.array(names, pa.string()).take(words.indices)


def _set_numbers(column: pa.ChunkedArray) -> pa.Array:
    numbers = as_numbers(column).to_numpy(zero_copy_only=False)
    if not np.all(np.isfinite(numbers) & (numbers == np.floor(numbers))):
        raise WrongColumn("holds a set that is not a whole number")
    return pa.array(numbers.astype(np.int64))
