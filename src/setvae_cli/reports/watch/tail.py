"""Reads a log that grows: each time only what was appended, and all of it when it was cut."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from setvae_cli.errors import InputError
from setvae_cli.runs.metrics_log import parse

CHUNK = 4 << 20  # bytes; a longer part is read in several goes, so that a first picture comes soon


@dataclass(frozen=True)
class Appended:
    """What one reading found.

    Attributes:
        records: New ones, in their order.
        anew: Whether they are the log from its start, and earlier ones no longer count.
        more: Whether the next reading finds more that is there now.
        good_bytes: Length of what was read of it so far.
        bytes: Its length now.
        damaged_bytes: Length of what cannot be read, from the first bad record to the end.
        changed: When the file was last written, seconds since 1970, by the clock of its disk.
    """

    records: tuple[dict[str, Any], ...]
    anew: bool
    more: bool
    good_bytes: int
    bytes: int
    damaged_bytes: int
    changed: float


class Tail:
    """Follows metrics.jsonl; a record that is half written is left for later.

    Args:
        path: The log.
        chunk: Most bytes of one reading.
    """

    def __init__(self, path: Path, chunk: int = CHUNK) -> None:
        self._path, self._chunk = path, chunk
        self._offset = 0
        self._last_line = b""

    def read(self) -> Appended:
        """Read on.

        Raises:
            InputError: The log is not there, or cannot be read.
        """
        try:
            with open(self._path, "rb") as file:
                return self._read(file)
        except OSError as error:
            raise InputError(
                (error.strerror or "unreadable").lower(), where=str(self._path)
            ) from error

    def _read(self, file: BinaryIO) -> Appended:
        known = os.fstat(file.fileno())
        anew = not self._is_as_it_was(file)
        if anew:
            self._offset, self._last_line = 0, b""
        file.seek(self._offset)
        data = file.read(self._chunk)
        records, bad = self._take(data)
        more = bool(records) and len(data) == self._chunk
        return Appended(
            records=tuple(records),
            anew=anew,
            more=more,
            good_bytes=self._offset,
            bytes=known.st_size,
            damaged_bytes=max(0, known.st_size - self._offset) if bad else 0,
            changed=known.st_mtime,
        )

    def _take(self, data: bytes) -> tuple[list[dict[str, Any]], bool]:
        """Records of whole lines up to the first bad one, and whether there is a bad one."""
        records: list[dict[str, Any]] = []
        *lines, rest = data.split(b"\n")
        for line in lines:
            record = parse(line + b"\n")
            if record is None:
                return records, True
            records.append(record)
            self._offset += len(line) + 1
            self._last_line = line + b"\n"
        return records, len(rest) == self._chunk

    def _is_as_it_was(self, file: BinaryIO) -> bool:
        """Whether what was read last still stands where it stood."""
        file.seek(self._offset - len(self._last_line))
        return file.read(len(self._last_line)) == self._last_line
