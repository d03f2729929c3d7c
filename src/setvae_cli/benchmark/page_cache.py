"""The system's page cache of some files: filled, emptied, and asked what it holds."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

CHUNK = 1 << 22


def fill(paths: Iterable[Path]) -> None:
    """Read every byte once."""
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(CHUNK):
                pass


def can_drop() -> bool:
    """Whether this system has a call that drops a file from the cache."""
    return hasattr(os, "posix_fadvise")


def drop(paths: Iterable[Path]) -> None:
    """Ask the system to forget the files; pages that a process has mapped stay.

    What was not yet written to the disk cannot be forgotten, so it is written first.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def cached_share(paths: Iterable[Path]) -> float | None:
    """Share of the files' pages that lie in the cache; None where the system does not tell.

    It asks mincore(2), which reads nothing and so changes nothing.
    """
    mincore = getattr(ctypes.CDLL(None), "mincore", None)
    if mincore is None:
        return None
    resident = pages = 0
    for path in paths:
        if not (size := path.stat().st_size):
            continue
        flags = np.zeros(-(-size // mmap.PAGESIZE), dtype=np.uint8)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as view:
            first = ctypes.c_char.from_buffer(view)
            place = ctypes.c_void_p(ctypes.addressof(first))
            refused = mincore(place, ctypes.c_size_t(size), ctypes.c_void_p(flags.ctypes.data))
            del first  # a map that is looked at cannot be closed
        if refused:
            return None
        resident += int(np.count_nonzero(flags & 1))
        pages += len(flags)
    return resident / pages if pages else None
