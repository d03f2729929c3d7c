"""Reads the scalars of one TensorBoard event file: every checksum compared, nothing of torch.

    uint64 length | uint32 masked crc32c of it | Event message | uint32 masked crc32c of it

Records of one length are checked together, and those that hold a single scalar, as most do, are
read together too. A record whose content is damaged is passed over; where a length is damaged
nothing behind it can be read. A last record that is not whole yet is no damage: training is on.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from setvae_cli.errors import InputError
from setvae_cli.files import check_regular
from setvae_cli.reports import crc32c
from setvae_cli.reports.event_scalars import Gathered, Scalars

_HEAD, _CHECKSUM = 8, 4  # bytes
_TOGETHER = 1 << 16  # records


@dataclass(frozen=True)
class EventLog:
    """What a file holds.

    Attributes:
        scalars: Its scalars.
        records: Events that could be read, of any kind.
        start_step: Where a resumption says that it begins; None where it does not say.
        began: Time of the first event, seconds since 1970; 0 without one.
        lost_bytes: Length of what is damaged.
        unfinished_bytes: Length of a last record that is not whole.
    """

    scalars: Scalars
    records: int
    start_step: int | None
    began: float
    lost_bytes: int
    unfinished_bytes: int


def read(path: Path) -> EventLog:
    """Read a file up to its end, or to where it cannot be read any more.

    Raises:
        InputError: It cannot be opened.
    """
    check_regular(path, "event file")
    try:
        data = np.memmap(path, np.uint8, mode="r")
    except OSError as error:
        raise InputError("cannot be read", where=str(path)) from error
    starts, lengths, lost, unfinished = _frames(data)
    gathered, good = Gathered(), 0
    for rows, records in _alike(data, starts, lengths):
        fits = _fits(records)
        bad = int((~fits).sum()) + gathered.take(rows[fits], records[fits, :-_CHECKSUM])
        good += len(rows) - bad
        lost += bad * (records.shape[1] + _HEAD + _CHECKSUM)
    scalars = gathered.scalars()
    return EventLog(scalars, good, gathered.start_step, gathered.began, lost, unfinished)


def _frames(data: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Where events begin and how long they are, then lost and unfinished bytes behind them."""
    unpack, view = struct.Struct("<Q").unpack_from, data.data
    size, place = len(data), 0
    starts, lengths = array("q"), array("q")
    while place + _HEAD + _CHECKSUM <= size:
        (length,) = unpack(view, place)
        starts.append(place + _HEAD + _CHECKSUM)
        lengths.append(min(length, size))
        place += _HEAD + length + 2 * _CHECKSUM
    begin, held = np.array(starts, np.int64), np.array(lengths, np.int64)
    good = _good_heads(data, begin)
    begin, held = begin[:good], held[:good]
    whole = int((begin + held + _CHECKSUM <= size).sum())
    end = int(begin[whole - 1] + held[whole - 1]) + _CHECKSUM if whole else 0
    rest = size - end
    torn = whole < good or rest < _HEAD + _CHECKSUM
    return begin[:whole], held[:whole], 0 if torn else rest, rest if torn else 0


def _good_heads(data: NDArray[np.uint8], starts: NDArray[np.int64]) -> int:
    """How many lengths fit their checksum before the first that does not."""
    for first in range(0, len(starts), _TOGETHER):
        part = starts[first : first + _TOGETHER] - _HEAD - _CHECKSUM
        heads = sliding_window_view(data, _HEAD + _CHECKSUM)[part]
        bad = np.flatnonzero(~_fits(heads))
        if len(bad):
            return first + int(bad[0])
    return len(starts)


def _fits(records: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether the last four bytes are the checksum of those before, a row each."""
    written = np.ascontiguousarray(records[:, -_CHECKSUM:]).view("<u4")[:, 0]
    fits: NDArray[np.bool_] = crc32c.masked(records[:, :-_CHECKSUM]) == written
    return fits


def _alike(
    data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Records of one length with their checksums, and their places in the order of the file."""
    order = np.argsort(lengths, kind="stable")
    bounds = np.flatnonzero(np.diff(lengths[order])) + 1
    for group in np.split(order, bounds):
        if len(group):
            width = int(lengths[group[0]]) + _CHECKSUM
            together = max(1, min(_TOGETHER, (1 << 25) // width))
            for first in range(0, len(group), together):
                rows = group[first : first + together]
                yield rows, sliding_window_view(data, width)[starts[rows]]
