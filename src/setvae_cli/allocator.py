"""What the allocator does with memory that is given back."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_LARGEST = 32 << 20  # bytes; above, glibc takes no other threshold than "never"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8


def keep_memory(kept: int | None) -> None:
    """Have the allocator keep what is freed for what comes next, where it is glibc's.

    The arrays of a part, or of a training step, are larger than what it keeps by default: each
    would be handed back to the system and faulted in again, page by page. That takes a third of
    the time of a simulated part, and of a training step a fifth once arrays pass 32 MB, as those
    of the original at 32 subjects do.

    Args:
        kept: Bytes that stay with the process; None: all, in one arena, however large an array.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        if kept is None:
            library.mallopt(_M_MMAP_MAX, 0)
            library.mallopt(_M_ARENA_MAX, 1)
            library.mallopt(_M_TRIM_THRESHOLD, -1)
        else:
            library.mallopt(_M_MMAP_THRESHOLD, min(kept // 2, _LARGEST))
            library.mallopt(_M_TRIM_THRESHOLD, kept)
