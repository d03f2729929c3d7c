"""The cache keeps the stores that were used last; none goes while a process has it open.

Whoever opens a store of the cache holds a shared lock on its folder, which the system drops when
the process ends, however it ends; whoever removes one takes the exclusive lock first.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import weakref
from contextlib import suppress
from pathlib import Path

from setvae_cli import numbers
from setvae_cli.errors import InputError
from setvae_cli.files import remove, temporary_name
from setvae_cli.store.format import read_manifest
from setvae_cli.store.reader import Store
from setvae_cli.store.remembered import forget

KEPT = 8  # stores of the cache
_KEY = re.compile(r"[0-9a-f]{32}")
_log = logging.getLogger(__name__)


def open_held(place: Path) -> Store | None:
    """Open a store of the cache, which then stays until it is no longer used.

    Returns:
        None where there is none, or where it is being removed.

    Raises:
        InputError: It is no store of this version.
        DataError: It is damaged.
    """
    held = _lock(place, fcntl.LOCK_SH)
    if held is None:
        return None
    try:
        store = Store.open(place)
    except BaseException:
        os.close(held)
        raise
    with suppress(OSError):  # a cache that cannot be written can be read
        os.utime(place)
    weakref.finalize(store, os.close, held)
    return store


def evict(cache: Path, kept: int = KEPT) -> None:
    """Remove the stores of a cache that were not used for longest, and say so.

    Args:
        cache: The folder of the cache.
        kept: How many stay; those that are open stay in any case.
    """
    stores = [path for path in cache.iterdir() if _KEY.fullmatch(path.name) and path.is_dir()]
    stores.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    freed = [size for size in map(_remove, stores[kept:]) if size is not None]
    if freed:
        what = "store, the one" if len(freed) == 1 else "stores, those"
        _log.warning(
            "%d cached %s longest unused, removed (%s)", len(freed), what, numbers.size(sum(freed))
        )


def _remove(place: Path) -> int | None:
    """Remove a store unless it is open.

    Returns:
        Its size in bytes; None where it stays.
    """
    held = _lock(place, fcntl.LOCK_EX)
    if held is None:
        return None
    try:
        with suppress(InputError):
            forget(place.parent, read_manifest(place).digest)
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        aside = place.with_name(temporary_name())  # what a killed process leaves is an orphan
        place.rename(aside)
        remove(aside)
    except OSError:
        return None
    finally:
        os.close(held)
    return size


def _lock(place: Path, kind: int) -> int | None:
    """An open descriptor of the folder that holds the lock; None where it cannot be had."""
    try:
        held = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(held, kind | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(held), os.stat(place)):
            return held
    except OSError:
        pass
    os.close(held)
    return None
