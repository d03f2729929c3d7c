"""A disk that refuses one of the calls that change it, counted from the first."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

BY_PATH = ("open", "mkdir", "replace", "rename", "link", "chmod", "truncate")
BY_DESCRIPTOR = ("fsync", "write", "pwrite")


class Disk:
    """Counts calls that change what lies below a folder, and fails some of them.

    Args:
        root: The folder.
        error: What is raised.
        at: Which call fails first, from 1.
        lasting: Whether all later calls fail too.
    """

    def __init__(self, root: Path, error: Callable[[], BaseException], *, at: int, lasting: bool):
        self._root, self._error, self._at, self._lasting = root, error, at, lasting
        self.calls = 0

    @property
    def failed(self) -> bool:
        """Whether any call was refused."""
        return self.calls >= self._at

    def call(self, place: Any) -> None:
        """Note a call, and refuse it if its turn has come."""
        if self._is_below(place):
            self.calls += 1
            if self.calls == self._at or (self._lasting and self.calls > self._at):
                raise self._error()

    def _is_below(self, place: Any) -> bool:
        path = os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else os.fspath(place)
        return f"{os.path.abspath(path)}/".startswith(f"{self._root}/")


@contextmanager
def failing(disk: Disk) -> Iterator[None]:
    """Context in which the calls of Python and of Arrow reach the disk by way of `disk`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*BY_PATH, *BY_DESCRIPTOR):
            patch.setattr(os, name, _counted(getattr(os, name), disk))
        opened = _opener(io.open, disk)
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        write_table = pq.write_table
        patch.setattr(pa, "OSFile", lambda path, mode="rb": pa.PythonFile(opened(path, mode)))

        def through_python(table: pa.Table, path: Path, **options: Any) -> None:
            with opened(path, "wb") as file:
                write_table(table, file, **options)

        patch.setattr(pq, "write_table", through_python)
        yield


def _counted(call: Callable[..., Any], disk: Disk) -> Callable[..., Any]:
    def counted(place: Any, *rest: Any, **named: Any) -> Any:
        changes = not (call.__name__ == "mkdir" and os.path.isdir(place))
        if call.__name__ == "open":
            changes = bool(rest[0] & (os.O_WRONLY | os.O_RDWR))
        if changes:
            disk.call(place)
        return call(place, *rest, **named)

    return counted


def _opener(call: Callable[..., Any], disk: Disk) -> Callable[..., Any]:
    class Raw(io.FileIO):
        def write(self, content: Any) -> int:
            disk.call(self.name)
            return super().write(content) or 0

    def opened(place: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+") or isinstance(place, int):
            return call(place, mode, *rest, **named)
        disk.call(place)
        file = io.BufferedWriter(Raw(os.fspath(place), mode.replace("b", "")))
        return file if "b" in mode else io.TextIOWrapper(file, named.get("encoding"))

    return opened
