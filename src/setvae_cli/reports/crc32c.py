"""CRC-32C of many records at once (Castagnoli polynomial, reflected), without a compiled package.

The checksum is linear: started at 0, it is the exclusive or of what each byte adds at its distance
from the end, and zeros in front add nothing. Columns of equal distance are one table look-up for
all records together. A start at all ones equals the first four bytes turned over.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Sums = NDArray[np.uint32]

_POLYNOMIAL = np.uint32(0x82F63B78)
_MASK_DELTA = np.uint32(0xA282EAD8)
_WIDTH = 512  # bytes; a longer record is folded into rows of this many


def masked(records: Bytes) -> Sums:
    """The masked checksums that event files hold.

    Args:
        records: `[records, length]`, all of one length.

    Returns:
        `[records]`.
    """
    sums = checksums(records)
    return (sums >> np.uint32(15) | sums << np.uint32(17)) + _MASK_DELTA


def checksums(records: Bytes) -> Sums:
    """The plain checksums.

    Args:
        records: `[records, length]`, all of one length.

    Returns:
        `[records]`.

    >>> hex(checksums(np.frombuffer(b"123456789", np.uint8)[None])[0])
    '0xe3069283'
    """
    if records.shape[1] < 4:
        return _short(records)
    width = min(_WIDTH, records.shape[1])
    padding = -records.shape[1] % width
    begun = np.pad(records, ((0, 0), (padding, 0)))
    begun[:, padding : padding + 4] ^= np.uint8(0xFF)
    rows = _linear(begun.reshape(-1, width)).reshape(len(records), -1)
    total = rows[:, 0]
    for row in rows.T[1:]:
        total = row ^ _linear(_first_bytes(total), behind=width - 4)
    return ~total


def _linear(records: Bytes, behind: int = 0) -> Sums:
    """Checksums started at 0 and not turned over at the end, with so many zeros behind."""
    total = np.zeros(len(records), np.uint32)
    added = _added()[behind : behind + records.shape[1]][::-1]
    for place in range(records.shape[1]):
        total ^= added[place][records[:, place]]
    return total


def _first_bytes(sums: Sums) -> Bytes:
    """What going on from these sums turns over in the next four bytes."""
    return sums.astype("<u4")[:, None].view(np.uint8)


def _short(records: Bytes) -> Sums:
    """Fewer than four bytes, one after the other."""
    total = np.full(len(records), 0xFFFFFFFF, np.uint32)
    for place in range(records.shape[1]):
        index = (total ^ records[:, place]) & np.uint32(0xFF)
        total = _added()[0][index] ^ total >> np.uint32(8)
    return ~total


@cache
def _added() -> NDArray[np.uint32]:
    """What each byte adds with so many bytes behind it, `[_WIDTH, 256]`."""
    rows = np.empty((_WIDTH, 256), np.uint32)
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & np.uint32(1), row >> np.uint32(1) ^ _POLYNOMIAL, row >> np.uint32(1))
    rows[0] = row
    for behind in range(1, _WIDTH):
        before = rows[behind - 1]
        rows[behind] = rows[0][before & np.uint32(0xFF)] ^ before >> np.uint32(8)
    return rows
