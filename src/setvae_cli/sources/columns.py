"""Columns of a person's table as the types of the schema: ids, numbers, minutes, classes.

Arrow's own conversion errors quote the data, so each function says what is wrong without it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MOST_CLASSES = 256  # a larger number is an id, a date or an amount, and no class
EXACT_BITS = {16: 11, 32: 24, 64: 53}  # whole numbers from 2^bits run together as floats
MISSING = ("NA", "N/A", "NaN", "nan", "NULL", "null")  # words of other programs for no value
_DATE = (
    r"^(?P<local>\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?)"
    r"(?P<zone>Z|[+-]\d{2}:?\d{2})?$"
)
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


class WrongColumn(ValueError):
    """A column is not what its role needs; the message names no value."""


def plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without dictionary, extension or decimal types.

    Raises:
        WrongColumn: The column holds lists or structures, or text that is not UTF-8.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_nested(array.type):
        raise WrongColumn("holds lists or structures, expected one value a row")
    if pa.types.is_decimal(array.type):
        array = pc.cast(array, pa.float64(), safe=False)
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raise WrongColumn("holds damaged text, expected UTF-8") from None
    return array


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, whichever of Arrow's spellings it has."""
    return any(test(kind) for test in _TEXT)


def without_missing(array: pa.Array) -> pa.Array:
    """The array; of text, with null for the words that mean a missing value."""
    if not is_text(array.type):
        return array
    texts = pc.cast(array, pa.string())
    missing = pc.is_in(texts, pa.array(MISSING, pa.string()))
    return pc.if_else(missing, pa.scalar(None, pa.string()), texts)


def as_ids(column: pa.ChunkedArray) -> pa.StringArray:
    """Ids as text; `200001.0`, a number or text, is `200001`.

    Raises:
        WrongColumn: Ids are fractional, or floats too large to be told apart.
    """
    array = plain(column)
    if pa.types.is_floating(array.type):
        numbers = array.to_numpy(zero_copy_only=False)
        finite = numbers[np.isfinite(numbers)]
        bits = EXACT_BITS[array.type.bit_width]
        if np.any(np.abs(finite) >= 2**bits):
            raise WrongColumn(f"holds ids as floats from 2^{bits} on, which run together")
        if np.any(finite != np.floor(finite)):
            raise WrongColumn("holds fractional numbers, expected ids")
        whole = numbers.astype(np.float64)
        array = pa.array(whole, mask=~np.isfinite(whole)).cast(pa.int64())
    if is_text(array.type):
        return pc.replace_substring_regex(without_missing(array), r"^(\d+)\.0+$", r"\1")
    if pa.types.is_integer(array.type) or pa.types.is_null(array.type):
        return pc.cast(array, pa.string())
    raise WrongColumn(f"is {array.type}, expected ids (text or whole numbers)")


def as_text(column: pa.ChunkedArray) -> pa.StringArray:
    """Names as text.

    Raises:
        WrongColumn: The column is neither text nor whole numbers, or is not UTF-8.
    """
    array = plain(column)
    if not (is_text(array.type) or pa.types.is_integer(array.type) or pa.types.is_null(array.type)):
        raise WrongColumn(f"is {array.type}, expected names (text)")
    return pc.cast(array, pa.string())


def as_numbers(column: pa.ChunkedArray) -> pa.DoubleArray:
    """Numbers as float64; null stays null and NaN stays NaN. Text counts only if it is all numbers.

    Raises:
        WrongColumn: A cell is text, or the type is no number.
    """
    array = plain(column)
    if is_text(array.type):
        try:
            return pc.cast(without_missing(array), pa.float64())
        except pa.ArrowInvalid:
            raise WrongColumn("is text, expected numbers") from None
    if pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.int8())
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_null)
    if not any(test(array.type) for test in kinds):
        raise WrongColumn(f"is {array.type}, expected numbers")
    return pc.cast(array, pa.float64(), safe=False)


def as_classes(column: pa.ChunkedArray, *, unknown: int | None = None) -> pa.Int32Array:
    """Class numbers 0, 1, ...; null, NaN and `unknown` are missing.

    Raises:
        WrongColumn: A label is not a whole number from 0 to 255.
    """
    numbers = as_numbers(column).to_numpy(zero_copy_only=False)
    missing = np.isnan(numbers) | (False if unknown is None else numbers == unknown)
    known = numbers[~missing]
    if np.any((known != np.floor(known)) | (known < 0) | (known >= MOST_CLASSES)):
        raise WrongColumn(
            f"holds a label that is not a class number (0, 1, ... up to {MOST_CLASSES - 1})"
        )
    return pa.array(np.where(missing, 0, numbers).astype(np.int32), mask=missing)


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
    array = plain(column)
    return _parsed(without_missing(array)) if is_text(array.type) else array


def _counted(array: pa.Array, unit: pa.DataType) -> np.ndarray:
    try:
        whole = pc.cast(pc.cast(array, unit, safe=False), pa.int64())
    except pa.ArrowInvalid:
        raise WrongColumn("holds dates out of range") from None
    return np.asarray(whole.to_numpy(zero_copy_only=False), dtype=np.float64)


def _parsed(text: pa.Array) -> pa.Array:
    """Text as numbers or dates."""
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        dates = pc.extract_regex(text, _DATE)
    if dates.null_count > text.null_count:
        raise WrongColumn("is text, expected a number of minutes") from None
    if len(pc.unique(pc.struct_field(dates, "zone").drop_null())) > 1:
        raise WrongColumn("mixes time zones, expected one") from None
    try:
        return pc.cast(pc.struct_field(dates, "local"), pa.timestamp("us"))
    except pa.ArrowInvalid:
        raise WrongColumn("holds dates that do not exist") from None
