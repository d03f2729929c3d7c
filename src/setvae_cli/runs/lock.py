"""One writer a run folder: a lock that ends with the process that holds it.

A record lock (fcntl) is not inherited by loader workers, which may outlive a killed run by seconds,
and it also holds on network file systems. On one without any locks a warning stands in its place.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from setvae_cli.errors import InputError
from setvae_cli.runs.folder import RunFolder

_NAME = ".lock"
_TAKEN = {errno.EACCES, errno.EAGAIN}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_held: set[tuple[int, int]] = set()  # the system lets one process take its own lock twice
_log = logging.getLogger(__name__)


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Context in which no other process writes into the run.

    Raises:
        InputError: One does, or the folder cannot be written.
    """
    descriptor, identity = _open(run)
    try:
        if identity in _held or not _take(descriptor):
            raise InputError(
                "another process is training in this run",
                where=str(run.path),
                mend="wait for it, or stop it",
            )
        _held.add(identity)
        try:
            yield
        finally:
            _held.discard(identity)
    finally:
        os.close(descriptor)


def is_locked(run: RunFolder) -> bool:
    """Whether a process is training in the run."""
    path = run.path / _NAME
    if not path.exists():
        return False
    status = path.stat()
    if (status.st_dev, status.st_ino) in _held:  # to close the file would end the lock
        return True
    descriptor = os.open(path, os.O_RDWR)
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def _open(run: RunFolder) -> tuple[int, tuple[int, int]]:
    path = run.path / _NAME
    with suppress(FileNotFoundError):
        status = path.stat()
        if (status.st_dev, status.st_ino) in _held:
            return os.open(os.devnull, os.O_RDWR), (status.st_dev, status.st_ino)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        reason = (error.strerror or "refused").lower()
        raise InputError(f"the run cannot be written ({reason})", where=str(run.path)) from error
    status = os.fstat(descriptor)
    return descriptor, (status.st_dev, status.st_ino)


def _take(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno not in _NO_LOCKS:
            raise
        _log.warning("this disk has no locks: make sure that no other process trains in the run")
    return True
