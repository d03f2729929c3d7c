"""A file to which records are appended, each whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from setvae_cli.files import disk_errors, file_mode


class Appender:
    """An open file; what `append` was given is with the operating system when it returns.

    Args:
        path: The file; made private when missing.
        fresh: Whether it must not exist yet.

    Raises:
        RunError: It cannot be opened for writing.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if fresh else 0)
        self._path = path
        with disk_errors(path):
            self._descriptor = os.open(path, flags, file_mode())
            self._end = os.lseek(self._descriptor, 0, os.SEEK_END)

    def append(self, record: bytes) -> None:
        """Write one record behind the last one.

        Raises:
            RunError: The disk is full, or refuses the write; the file is as it was before.
        """
        with disk_errors(self._path):
            try:
                self._write(record)
            except BaseException:
                with suppress(OSError):  # a reader passes over the part that then stays
                    os.ftruncate(self._descriptor, self._end)
                raise
        self._end += len(record)

    def sync(self) -> int:
        """Wait until all records are on the disk.

        Returns:
            Their length, bytes.

        Raises:
            RunError: The disk refuses.
        """
        with disk_errors(self._path):
            os.fsync(self._descriptor)
        return self._end

    def close(self) -> None:
        """Close the file; once is enough."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with disk_errors(self._path):
                os.close(descriptor)

    def _write(self, record: bytes) -> None:
        """Write behind the last whole record, over what a failed write may have left there."""
        rest = memoryview(record)
        while rest:
            done = os.pwrite(self._descriptor, rest, self._end + len(record) - len(rest))
            rest = rest[done:]
