"""Private memory of a process: now, and its highest mark while a step runs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import torch


def private_memory_bytes(pid: int | None = None) -> int:
    """Memory that only this process holds (USS): what would be freed if it ended.

    Args:
        pid: Another process of the same user; None for this one.

    Returns:
        Bytes.
    """
    return int(psutil.Process(pid).memory_full_info().uss)


def added_memory_bytes(work: Callable[[], object], device: str) -> int | None:
    """How far memory rises above its level before some work, at its highest.

    On a GPU it is what torch allocates there. On a CPU it is the resident memory of this process,
    whose high-water mark Linux can reset; free memory is returned to the system first, so that
    pages which earlier work left behind count again.

    Args:
        work: Is done once.
        device: `cpu` or `cuda`.

    Returns:
        Bytes; None where the platform cannot say.
    """
    if device == "cuda":
        return _added_on_gpu(work)
    _trim()
    can_reset = _reset_high_water_mark()
    before = _status("VmRSS") if can_reset else None
    work()
    peak = _status("VmHWM") if can_reset else None
    return None if before is None or peak is None else max(peak - before, 0)


def _added_on_gpu(work: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _trim() -> None:
    """Give memory that the allocator holds back to the system, where it is glibc's."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _reset_high_water_mark() -> bool:
    """Let the mark of resident memory begin anew; false where that is not possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(field: str) -> int | None:
    """A size from the kernel's account of this process, bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return None
