"""Columns of times: minutes, durations or dates, also as text, which is all of one kind."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setvae_cli.sources.columns import (
    WrongColumn,
    as_numbers,
    is_text,
    one_chunk,
    plain,
    without_missing,
)

_DATE = (
    r"^(?P<local>\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?)"
    r"(?P<zone>Z|[+-]\d{2}:?\d{2})?$"
)
TEXT_TIME = "is text, expected a number of minutes"
MIXED_ZONES = "mixes time zones, expected one"


def as_times(column: pa.ChunkedArray) -> tuple[np.ndarray, bool]:
    """Times of rows that have one: minutes, or (True) dates in microseconds since 1970.

    Numbers and durations are minutes; text counts if all of it is numbers, or all ISO 8601 dates of
    one time zone.

    Raises:
        WrongColumn: The type is no time, or kinds or time zones are mixed.
    """
    array = time_values(column)
    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _counted(array, pa.timestamp("us", getattr(kind, "tz", None))), True
    if pa.types.is_duration(kind):
        return _counted(array, pa.duration("us")) / 60e6, False
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return as_numbers(pa.chunked_array([array])).to_numpy(zero_copy_only=False), False
    raise WrongColumn(f"is {kind}, expected a number of minutes or dates")


def time_values(column: pa.ChunkedArray) -> pa.Array:
    """Times in a type of their own: text, all of it, as numbers or as dates.

    Raises:
        WrongColumn: Text is neither, or mixes kinds or time zones.
    """
    if pa.types.is_dictionary(column.type):
        whole = one_chunk(column.unify_dictionaries())
        try:
            return time_values(pa.chunked_array([whole.dictionary])).take(whole.indices)
        except WrongColumn:  # perhaps of a value that no row has
            pass
    array = plain(column)
    return _parsed(without_missing(array))[0] if is_text(array.type) else array


def text_kinds(column: pa.ChunkedArray) -> set[str]:
    """What a text column of times holds: "minutes", or "dates" with their zone; or nothing.

    Raises:
        WrongColumn: Text is neither, or mixes kinds or time zones.
    """
    if pa.types.is_dictionary(column.type):
        used = [
            chunk.dictionary.take(chunk.indices.unique().drop_null()) for chunk in column.chunks
        ]
        column = pa.chunked_array(used, column.type.value_type)
    array = without_missing(plain(column))
    if array.null_count == len(array):
        return set()
    return {_parsed(array)[1]}


def check_kinds(kinds: set[str]) -> None:
    """Make sure that all pieces of a text column of times hold the same.

    Raises:
        WrongColumn: Kinds or time zones are mixed.
    """
    if "minutes" in kinds and len(kinds) > 1:
        raise WrongColumn(TEXT_TIME)
    if len(kinds - {"dates"}) > 1:
        raise WrongColumn(MIXED_ZONES)


def _counted(array: pa.Array, unit: pa.DataType) -> np.ndarray:
    try:
        whole = pc.cast(pc.cast(array, unit, safe=False), pa.int64())
    except pa.ArrowInvalid:
        raise WrongColumn("holds dates out of range") from None
    return np.asarray(whole.to_numpy(zero_copy_only=False), dtype=np.float64)


def _parsed(text: pa.Array) -> tuple[pa.Array, str]:
    """Text as numbers or dates, and which, as in `text_kinds`."""
    try:
        return pc.cast(text, pa.float64()), "minutes"
    except pa.ArrowInvalid:
        dates = pc.extract_regex(text, _DATE)
    if dates.null_count > text.null_count:
        raise WrongColumn(TEXT_TIME) from None
    zones = pc.unique(pc.struct_field(dates, "zone").drop_null()).to_pylist()
    if len(zones) > 1:
        raise WrongColumn(MIXED_ZONES) from None
    try:
        local = pc.cast(pc.struct_field(dates, "local"), pa.timestamp("us"))
    except pa.ArrowInvalid:
        raise WrongColumn("holds dates that do not exist") from None
    return local, " ".join(["dates", *zones])
