"""Walks a TensorBoard event file and compares every checksum in it.

uint64 length | uint32 masked crc32c of it | event | uint32 masked crc32c of it
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from setvae_cli.files import check_regular

_HEAD, _CHECKSUM = 8, 4  # bytes


@dataclass(frozen=True)
class Walked:
    """How far a file can be read.

    Attributes:
        records: Events before the first unreadable one.
        lost_bytes: Length of what follows them; 0 for a whole file.
    """

    records: int
    lost_bytes: int


def walk(path: Path) -> Walked:
    """Count the readable records of a file.

    Raises:
        InputError: It cannot be opened.
    """
    data = check_regular(path, "event file").read_bytes()
    records = place = 0
    while (end := _end(data, place)) is not None:
        records, place = records + 1, end
    return Walked(records, len(data) - place)


def _end(data: bytes, place: int) -> int | None:
    """Where the record that begins here ends; None where none is whole."""
    body = place + _HEAD + _CHECKSUM
    head = data[place : place + _HEAD]
    if len(data) < body or not _fits(head, data[place + _HEAD : body]):
        return None
    end = body + int.from_bytes(head, "little")
    if len(data) < end + _CHECKSUM or not _fits(data[body:end], data[end : end + _CHECKSUM]):
        return None
    return end + _CHECKSUM


def _fits(content: bytes, checksum: bytes) -> bool:
    return struct.pack("<I", masked_crc32c(content)) == checksum
