"""Columns of a person's table as the types of the schema: ids, names, numbers, classes.

Arrow's own conversion errors quote the data, so each function says what is wrong without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MOST_CLASSES = 256  # a larger number is an id, a date or an amount, and no class
EXACT_BITS = {16: 11, 32: 24, 64: 53}  # whole numbers from 2^bits run together as floats
MISSING = ("NA", "N/A", "NaN", "nan", "NULL", "null")  # words of other programs for no value
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


class WrongColumn(ValueError):
    """A column is not what its role needs; the message names no value."""


def plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without dictionary, extension or decimal types.

    Raises:
        WrongColumn: The column holds lists or structures, or text that is not UTF-8.
    """
    array = one_chunk(column)
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


def encoded(
    column: pa.ChunkedArray, convert: Callable[[pa.ChunkedArray], pa.Array]
) -> pa.DictionaryArray:
    """A column as places among its distinct values, each converted once.

    Args:
        column: Any column.
        convert: From values as given to values of a role.

    Raises:
        WrongColumn: As `convert`.
    """
    if pa.types.is_dictionary(column.type):
        whole = one_chunk(column.unify_dictionaries())
        try:
            return _renamed(whole, convert)
        except WrongColumn:  # perhaps of a value that no row has
            pass
    array = plain(column)
    try:
        values = array.dictionary_encode()
    except pa.ArrowNotImplementedError:  # of half floats
        return convert(pa.chunked_array([array])).dictionary_encode()
    return _renamed(values, convert)


def places(array: pa.DictionaryArray) -> np.ndarray:
    """Place of each row's value in the dictionary, -1 for none, [rows]."""
    indices = array.indices
    if indices.null_count:
        indices = indices.fill_null(-1)
    return np.asarray(indices.to_numpy(zero_copy_only=False))


def each_value_once(
    convert: Callable[[pa.ChunkedArray], pa.Array],
) -> Callable[[pa.ChunkedArray], pa.Array]:
    """Let a conversion of columns look at each value of a dictionary column once."""

    @wraps(convert)
    def of_column(column: pa.ChunkedArray) -> pa.Array:
        if not pa.types.is_dictionary(column.type) or not column.num_chunks:
            return convert(column)
        try:
            pieces = [
                convert(pa.chunked_array([chunk.dictionary])).take(chunk.indices)
                for chunk in column.chunks
            ]
        except WrongColumn:  # perhaps of a value that no row has
            return convert(pa.chunked_array([plain(column)]))
        return pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)

    return of_column


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
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


@each_value_once
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


@each_value_once
def as_text(column: pa.ChunkedArray) -> pa.StringArray:
    """Names as text.

    Raises:
        WrongColumn: The column is neither text nor whole numbers, or is not UTF-8.
    """
    array = plain(column)
    if not (is_text(array.type) or pa.types.is_integer(array.type) or pa.types.is_null(array.type)):
        raise WrongColumn(f"is {array.type}, expected names (text)")
    return pc.cast(array, pa.string())


@each_value_once
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


def as_named_classes(column: pa.ChunkedArray) -> tuple[pa.Int32Array, tuple[str, ...]]:
    """Class numbers; of texts that are no numbers, each text's place in their sorted order.

    Empty texts are missing.

    Returns:
        The numbers, and the names of classes 0, 1, ...; no names where numbers were given.

    Raises:
        WrongColumn: As `as_classes`, or there are more than 256 texts.
    """
    array = plain(column)
    if not is_text(array.type) or _all_numbers(column):
        return as_classes(column), ()
    texts = pc.utf8_trim_whitespace(without_missing(array))
    names = sorted(text for text in pc.unique(texts).to_pylist() if text)
    if len(names) > MOST_CLASSES:
        raise WrongColumn(f"holds more than {MOST_CLASSES} texts, expected names of classes")
    return pc.index_in(texts, value_set=pa.array(names, pa.string())), tuple(names)


def _all_numbers(column: pa.ChunkedArray) -> bool:
    try:
        as_numbers(column)
    except WrongColumn:
        return False
    return True


def _renamed(
    array: pa.DictionaryArray, convert: Callable[[pa.ChunkedArray], pa.Array]
) -> pa.DictionaryArray:
    names = convert(pa.chunked_array([array.dictionary])).dictionary_encode()
    return pa.DictionaryArray.from_arrays(names.indices.take(array.indices), names.dictionary)
