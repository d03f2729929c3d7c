"""Rows of a long table, one event a row, as records of whole subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
    as_times,
    is_text,
    plain,
    time_values,
    without_missing,
)
from setvae_cli.sources.records import Records
from setvae_cli.sources.roles import Roles

SPLITS = {
    "train": "train", "training": "train",
    "valid": "validation", "val": "validation", "validation": "validation", "tuning": "validation",
    "test": "test", "held_out": "test",
}  # fmt: skip
T = TypeVar("T")
UNSORTED = "the rows of some subjects were not in time order and were sorted"


def rows_to_records(
    table: pa.Table, roles: Roles, where: str, *, subjects: Sequence[str] | None = None
) -> Records:
    """Turn rows of whole subjects into records.

    Args:
        table: Holds at least the columns of `roles`.
        roles: Column of each role.
        where: The table, as the person wrote it.
        subjects: All subjects, also those without a row; default: those of the rows.

    Raises:
        InputError: A column is not of its role's type, or varies where it must be constant.
    """
    table, drops = _usable(table, roles, where)
    ids = _read(as_ids, table, roles.subject, "subject", where)
    names = pc.unique(ids) if subjects is None else pa.array(subjects, pa.string())
    subject = pc.cast(pc.index_in(ids, names), pa.int32())
    static = {
        name: constant(_read(_attribute, table, column, f"attribute:{name}", where), subject,
                       len(names), f"{where}: column '{column}'")
        for name, column in roles.attributes.items()
    }  # fmt: skip
    events, dated = _events(table, roles, subject, where)
    events, unsorted = _in_time_order(events)
    if dated:
        events = _since_first(events)
    events = _with_static(events, static)
    columns = {"subject_id": names}
    columns |= _membership(table, roles, subject, len(names), where)
    columns |= {f"attribute.{name}": column for name, column in static.items()}
    warnings = (*roles.warnings, UNSORTED) if unsorted else roles.warnings
    return Records(pa.table(columns), events, drops, warnings)


def typed(table: pa.Table, roles: Roles, where: str, *, attributes: bool) -> pa.Table:
    """Give text its types from all rows, so that no part of the table decides alone.

    Args:
        table: All rows.
        roles: Column of each role.
        where: The table, as the person wrote it.
        attributes: Attributes of text may be numbers, as all cells of a CSV are text.

    Raises:
        InputError: The times are neither numbers nor dates of one time zone.
    """
    found = {roles.time: _read(time_values, table, roles.time, "time", where)}
    others = replace(roles, attributes={}).events()
    for name, column in roles.attributes.items():
        if attributes and column not in others:
            found[column] = _read(_numbers_or_text, table, column, f"attribute:{name}", where)
    for column, values in found.items():
        table = table.set_column(table.column_names.index(column), column, values)
    return table


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
    encoded = pc.dictionary_encode(values)
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
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
    return encoded.dictionary.take(pa.array(np.maximum(chosen, 0), mask=chosen < 0))


def _read(
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


def _usable(table: pa.Table, roles: Roles, where: str) -> tuple[pa.Table, dict[str, int]]:
    """Leave out rows without a subject, a time or a code, counted."""
    ids = _read(as_ids, table, roles.subject, "subject", where)
    codes = _read(as_text, table, roles.code, "code", where)
    time = _read(plain, table, roles.time, "time", where)
    reasons = {
        "missing subject id": pc.is_null(ids),
        "empty subject id": pc.equal(pc.utf8_trim_whitespace(ids), ""),
        "missing code": pc.is_null(codes),
        "empty code": pc.equal(pc.utf8_trim_whitespace(codes), ""),
        "missing time": pc.is_null(without_missing(time), nan_is_null=True),
    }
    bad = np.zeros(table.num_rows, dtype=bool)
    drops: dict[str, int] = {}
    for reason, found in reasons.items():
        here = pc.fill_null(found, False).to_numpy(zero_copy_only=False) & ~bad
        if here.any():
            drops[reason] = int(here.sum())
        bad |= here
    return (table.filter(pa.array(~bad)) if bad.any() else table), drops


def _events(table: pa.Table, roles: Roles, subject: pa.Array, where: str) -> tuple[pa.Table, bool]:
    """The events in the table's order, and whether their times are dates."""
    time, dated = _read(as_times, table, roles.time, "time", where)
    codes = _read(as_text, table, roles.code, "code", where)
    nothing = pa.nulls(table.num_rows, pa.float64())
    columns = {
        "subject": subject,
        "time": pa.array(time),
        "code": pc.dictionary_encode(codes),
        "value": _read(as_numbers, table, roles.value, "value", where) if roles.value else nothing,
    }
    if roles.set:
        columns["set"] = _read(_set_numbers, table, roles.set, "set", where)
    return pa.table(columns), dated


def _in_time_order(events: pa.Table) -> tuple[pa.Table, bool]:
    """Subjects together and their events by time, and whether some had to be moved in time."""
    subject, time = events["subject"].to_numpy(), events["time"].to_numpy()
    order = np.argsort(subject, kind="stable")
    same = np.diff(subject[order]) == 0
    unsorted = bool(np.any(same & (np.diff(time[order]) < 0)))
    if unsorted:
        order = np.lexsort((time, subject))
    if unsorted or np.any(np.diff(subject) < 0):
        events = events.take(pa.array(order))
    return events, unsorted


def _first_rows(events: pa.Table) -> np.ndarray:
    """First row of each subject that has events, in sorted events."""
    return np.flatnonzero(np.diff(events["subject"].to_numpy(), prepend=-1) > 0)


def _since_first(events: pa.Table) -> pa.Table:
    """Dates in microseconds as minutes from the subject's first event."""
    first, time = _first_rows(events), events["time"].to_numpy()
    rows = np.diff(first, append=len(time))
    minutes = (time - np.repeat(time[first], rows)) / 60e6
    return events.set_column(1, "time", pa.array(minutes))


def _with_static(events: pa.Table, static: Mapping[str, pa.Array]) -> pa.Table:
    """Add attributes as events at the subject's first time that is finite and not negative.

    Numbers are values, texts are presence of `name=value`.
    """
    if not static or not events.num_rows:
        return events
    time = events["time"].to_numpy()
    usable = events.filter(pa.array(np.isfinite(time) & (time >= 0)))
    first = usable.take(pa.array(_first_rows(usable)))
    added = []
    for name, values in static.items():
        here = values.take(first["subject"].combine_chunks())
        if is_text(here.type):
            codes = pc.binary_join_element_wise(f"{name}=", here, "")
            numbers = pa.nulls(len(here), pa.float64())
        else:
            codes = pa.array([name] * len(here), pa.string())
            numbers = here
        rows = first.set_column(2, "code", pc.dictionary_encode(codes))
        added.append(rows.set_column(3, "value", numbers).filter(pc.is_valid(here)))
    merged = pa.concat_tables([*added, events]).unify_dictionaries()
    order = np.lexsort((merged["time"].to_numpy(), merged["subject"].to_numpy()))
    return merged.take(pa.array(order)).combine_chunks()


def _membership(
    table: pa.Table, roles: Roles, subject: pa.Array, n_subjects: int, where: str
) -> dict[str, pa.Array]:
    """Group and split of each subject, where there are such columns."""
    found = {}
    if roles.group:
        groups = _read(as_ids, table, roles.group, "group", where)
        place = f"{where}: column '{roles.group}'"
        found["group_id"] = constant(groups, subject, n_subjects, place)
    if roles.split:
        splits = _read(_split_names, table, roles.split, "split", where)
        place = f"{where}: column '{roles.split}'"
        found["split"] = constant(splits, subject, n_subjects, place)
    return found


def _attribute(column: pa.ChunkedArray) -> pa.Array:
    """Numbers as float64 with null for NaN, or text."""
    array = plain(column)
    if is_text(array.type):
        return without_missing(array)
    numbers = as_numbers(column)
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _numbers_or_text(column: pa.ChunkedArray) -> pa.Array:
    try:
        return as_numbers(column)
    except WrongColumn:
        return plain(column)


def _split_names(column: pa.ChunkedArray) -> pa.Array:
    encoded = pc.dictionary_encode(without_missing(as_text(column)))
    names = [SPLITS.get(name.strip().lower()) for name in encoded.dictionary.to_pylist()]
    if None in names:
        raise WrongColumn("holds other words than train, validation and test")
    return pa.array(names, pa.string()).take(encoded.indices)


def _set_numbers(column: pa.ChunkedArray) -> pa.Array:
    numbers = as_numbers(column).to_numpy(zero_copy_only=False)
    if not np.all(np.isfinite(numbers) & (numbers == np.floor(numbers))):
        raise WrongColumn("holds a set that is not a whole number")
    return pa.array(numbers.astype(np.int64))
