"""metrics.jsonl: one flat record a line, each ending in the checksum of what stands before it.

    {"step":10,"epoch":1,"train_loss_step":1.83,"crc32":"5f0a9c1e"}
     ^^^^^^^^^^^^^^^^ crc32 of the bytes from the brace up to the comma before "crc32" ^^^^

Rank 0 appends, anyone reads, also while training is on. A record that was cut or changed ends the
readable part: what follows is counted, not guessed at.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setvae_cli.errors import InputError
from setvae_cli.files import disk_errors
from setvae_cli.runs.appender import Appender

Value = float | int | str | bool | None


@dataclass(frozen=True)
class Contents:
    """What a log holds.

    Attributes:
        records: Every record before the first unreadable one, without its checksum.
        good_bytes: Length of the readable part.
        lost_bytes: Length of what follows it; 0 for a whole log.
    """

    records: tuple[dict[str, Any], ...]
    good_bytes: int
    lost_bytes: int


class MetricsLog:
    """Appends records; an unreadable tail left by a killed process is cut off first.

    Args:
        path: The log; made with mode 0600 when missing.
        upto: Length in bytes behind which records are cut off: a run that goes on from there
            writes them again.

    Attributes:
        lost_bytes: Length of the tail that was cut off; 0 for a whole or a new log.

    Raises:
        InputError: What stands there cannot be read.
        RunError: It cannot be written.
    """

    def __init__(self, path: Path, upto: int | None = None) -> None:
        self.lost_bytes = 0
        if path.exists():
            contents = read(path)
            self.lost_bytes = contents.lost_bytes
            good = contents.good_bytes if upto is None else min(upto, contents.good_bytes)
            with disk_errors(path):
                os.truncate(path, good)
        self._file = Appender(path)

    def write(self, record: Mapping[str, Value]) -> None:
        """Append one record and hand it to the operating system.

        Raises:
            ValueError: A value is not finite, or not plain.
            RunError: The disk is full, or refuses the write; nothing of the record stays.
        """
        self._file.append(_line(record))

    def sync(self) -> int:
        """Wait until every record is on the disk.

        Returns:
            Length of the log, bytes.
        """
        return self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> Contents:
    """Read every record up to the first unreadable one.

    Raises:
        InputError: There is no such file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError((error.strerror or "unreadable").lower(), where=str(path)) from error
    records, good = [], 0
    for line in data.splitlines(keepends=True):
        record = parse(line)
        if record is None:
            break
        records.append(record)
        good += len(line)
    return Contents(tuple(records), good, len(data) - good)


def _line(record: Mapping[str, Value]) -> bytes:
    for name, value in record.items():
        if not isinstance(value, float | int | str | None) or name == "crc32":
            raise ValueError(f"{name} is not a plain value")
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()[:-1]
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)


def parse(line: bytes) -> dict[str, Any] | None:
    """The record of a line, its end included; None where it was cut or changed."""
    body, mark, rest = line.rpartition(b',"crc32":"')
    if not mark or rest != b'%08x"}\n' % zlib.crc32(body):
        return None
    try:
        record: dict[str, Any] = json.loads(body + b"}")
    except (ValueError, RecursionError):  # a fitting checksum, but of no record of ours
        return None
    return record
