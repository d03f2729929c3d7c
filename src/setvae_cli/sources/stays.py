"""The text of PhysioNet 2012 stays, many at a time, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

HEADER = b"Time,Parameter,Value"
_COLUMNS = {
    "time": pa.dictionary(pa.int32(), pa.string()),
    "code": pa.dictionary(pa.int32(), pa.string()),
    "value": pa.float64(),
}
_CLOCK = r"^(?P<hours>\d{1,4}):(?P<minutes>[0-5]\d)$"


class MalformedStay(ValueError):
    """A text that is not a stay; its message holds nothing of the text."""


@dataclass(frozen=True)
class StayRows:
    """The rows of some stays, one after the other.

    Attributes:
        per_stay: Rows of each stay, int64 [stays].
        minutes: float64 [rows].
        codes: Place in `names`, int32 [rows].
        names: Parameters as written.
        values: float64 [rows], NaN where `empty`.
        empty: Rows without a value, bool [rows].
    """

    per_stay: np.ndarray
    minutes: np.ndarray
    codes: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    empty: np.ndarray


def parse_stays(texts: Sequence[bytes]) -> StayRows:
    """Parse texts of `Time,Parameter,Value` rows as one.

    Raises:
        MalformedStay: A header, a time or a value is not what the format says.
    """
    bodies = [_body(text) for text in texts]
    per_stay = np.array([body.count(b"\n") for body in bodies], dtype=np.int64)
    table = _parse(b"".join(bodies))
    if table.num_rows != per_stay.sum():
        raise MalformedStay("its lines cannot be told apart")
    code = _flat(table["code"])
    values = _flat(table["value"])
    return StayRows(
        per_stay=per_stay,
        minutes=_minutes(_flat(table["time"])),
        codes=code.indices.to_numpy(),
        names=tuple(code.dictionary.to_pylist()),
        values=values.to_numpy(zero_copy_only=False),
        empty=values.is_null().to_numpy(zero_copy_only=False),
    )


def _body(text: bytes) -> bytes:
    """Rows after the header, each ended by one newline, without empty lines."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    header, _, body = text.partition(b"\n")
    if header.strip() != HEADER:
        raise MalformedStay("it does not begin with Time,Parameter,Value")
    if body and not body.endswith(b"\n"):
        body += b"\n"
    if body.startswith(b"\n") or b"\n\n" in body:
        body = b"".join(line + b"\n" for line in body.split(b"\n") if line)
    return body


def _parse(body: bytes) -> pa.Table:
    if not body:
        return pa.table({name: pa.array([], kind) for name, kind in _COLUMNS.items()})
    try:
        return pa.csv.read_csv(
            pa.BufferReader(body),
            pa.csv.ReadOptions(
                column_names=list(_COLUMNS), use_threads=False, block_size=len(body) + 1
            ),
            pa.csv.ParseOptions(quote_char=False),
            pa.csv.ConvertOptions(column_types=_COLUMNS, null_values=["", "NA", "NaN", "nan"]),
        )
    except pa.ArrowInvalid:  # its text quotes the row
        raise MalformedStay("a row is not a time, a name and a number") from None


def _flat(column: pa.ChunkedArray) -> pa.Array:
    merged = column.unify_dictionaries().combine_chunks()
    return merged.chunk(0) if isinstance(merged, pa.ChunkedArray) else merged


def _minutes(times: pa.DictionaryArray) -> np.ndarray:
    clock = pc.extract_regex(times.dictionary, _CLOCK)
    if clock.null_count:
        raise MalformedStay("a time is not HH:MM")
    hours = pc.cast(pc.struct_field(clock, "hours"), pa.float64()).to_numpy()
    minutes = pc.cast(pc.struct_field(clock, "minutes"), pa.float64()).to_numpy()
    return np.asarray((60 * hours + minutes)[times.indices.to_numpy()])
