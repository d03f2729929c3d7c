"""Every touch of the disk that must not go wrong: atomic writes, checksums, checks of named places.

A file that is being written stands beside its target under a name that starts with `.tmp-`; it is
fsynced, renamed over the target, and the folder is fsynced. A reader sees the old file or the new
one, never a part of one. What a killed process leaves behind, `sweep_orphans` removes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from setvae_cli import numbers
from setvae_cli.errors import InputError, RunError, SetvaeError

_PREFIX = ".tmp-"
_FOREIGN_ORPHAN_SECONDS = 7 * 24 * 3600
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_modes = {"file": 0o600, "folder": 0o700}  # they belong to the process, as its umask does


def share_with_group(wanted: bool = True) -> None:
    """Let the group read what this process writes from here on: files 0640, folders 0750.

    Args:
        wanted: False: nobody else, files 0600 and folders 0700, as it is at the start.
    """
    _modes.update(file=0o640 if wanted else 0o600, folder=0o750 if wanted else 0o700)
    if wanted:
        os.umask(0o027)


def file_mode() -> int:
    """Permissions of a file that this process makes."""
    return _modes["file"]


def folder_mode() -> int:
    """Permissions of a folder that this process makes."""
    return _modes["folder"]


def make_folder(path: Path) -> Path:
    """Create a private folder with its parents; an existing one is left as it is.

    Raises:
        InputError: The place is a file, or cannot be written.
    """
    try:
        path.mkdir(mode=folder_mode(), parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            "a file stands where a folder is needed", where=str(path), mend="name another folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"the folder cannot be created ({_reason(error)})",
            where=str(path),
            mend="name a folder that you may write",
        ) from error
    return path


def check_free(path: Path, kind: str = "folder") -> None:
    """Make sure that a new folder or file can be written at a place, and make what it stands in.

    Raises:
        InputError: Something is there, or nothing can be written there.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise InputError(
            f"cannot be written ({_reason(error)})", where=str(path), mend=f"name another {kind}"
        ) from error
    else:
        raise InputError(
            "exists already and is never overwritten", where=str(path), mend=f"name another {kind}"
        )
    if not os.access(make_folder(path.parent), os.W_OK):
        raise InputError(
            "nothing can be written there", where=str(path.parent), mend="name another folder"
        )


def check_space(path: Path, needed: int, what: str) -> None:
    """Make sure that the disk has room for what will be written, as far as it tells.

    Quotas cannot be seen from here; a disk that fills up later still ends in one line.

    Args:
        path: Where it will be written; it need not be there yet.
        needed: Bytes that it takes at least.
        what: What it is, such as "the store".

    Raises:
        InputError: The disk has less free.
    """
    try:
        place = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
        disk = os.statvfs(place)
    except OSError:
        return
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free < needed:  # a disk without blocks does not say how full it is
        raise InputError(
            f"has {numbers.size(free)} free, expected at least {numbers.size(needed)} for {what}",
            where=str(path),
            mend="free some space or name another folder",
        )


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling to write a file or a folder to; it takes the target's place at the end.

    A folder only takes a place that is free. Whatever is raised inside, the target is untouched
    and the temporary is removed.

    Raises:
        RunError: The disk is full, or refuses the write.
    """
    temporary = path.parent / temporary_name()
    try:
        with disk_errors(path):
            yield temporary
            _settle(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # it must not hide why it failed
            remove(temporary)
        if isinstance(error, SetvaeError) and (error.where or "").startswith(str(temporary)):
            raise type(error)(error.what, where=str(path), mend=error.mend) from error
        raise


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """An open temporary file whose bytes become the target, whole, when the block ends well."""
    with atomic_path(path) as temporary, open(temporary, "xb") as file:
        yield file
        file.flush()


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a whole file at once, atomically, text as UTF-8."""
    with atomic_writer(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the system says about a failed write to `path` into one line.

    Raises:
        RunError: In place of any OSError, also one that a library wrapped.
    """
    try:
        yield
    except SetvaeError:
        raise
    except Exception as error:
        cause = _os_error(error)
        if cause is None:
            raise
        full = cause.errno in _DISK_FULL
        raise RunError(
            f"cannot be written: {_reason(cause)}",
            where=str(path),
            mend="free some space or name another folder" if full else "name another folder",
        ) from error


def temporary_name() -> str:
    """A fresh name that says which machine and process it belongs to, without naming them."""
    pid = os.getpid()
    return f"{_PREFIX}{_machine()}-{pid}.{_birth(pid)}-{secrets.token_hex(4)}"


def sweep_orphans(folder: Path) -> int:
    """Remove temporaries of processes that are gone.

    Returns:
        How many were removed. Those of other machines go only after a week.
    """
    if not folder.is_dir():
        return 0
    orphans = [entry for entry in folder.glob(f"{_PREFIX}*") if _is_orphan(entry)]
    for orphan in orphans:
        remove(orphan)
    return len(orphans)


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def check_regular(path: Path, what: str) -> Path:
    """Make sure that a named file can be read before anything is built on it.

    Args:
        path: The file, as the person wrote it.
        what: What it is to them, such as "outcomes".

    Raises:
        InputError: It is missing, no regular file, unreadable, empty, or a loop of links.
    """

    def refuse(finding: str, mend: str) -> InputError:
        return InputError(finding, where=str(path), mend=mend)

    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise refuse(f"no such file ({what})", "check the path") from error
    except OSError as error:
        raise refuse(f"{what} cannot be reached ({_reason(error)})", "check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise refuse(f"is a folder, expected a file ({what})", "name the file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise refuse(f"is no regular file ({what})", "name a file on disk")
    if not os.access(path, os.R_OK):
        raise refuse(f"{what} cannot be read (permission denied)", "change its permissions")
    if status.st_size == 0:
        raise refuse(f"is empty, 0 bytes ({what})", "check how it was made")
    return path


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum_bytes(content: bytes) -> str:
    """The CRC-32 of some bytes, eight hexadecimal digits."""
    return f"{zlib.crc32(content):08x}"


def checksum_plain(content: Mapping[str, Any]) -> str:
    """The CRC-32 of plain values as they stand in JSON, whatever its spaces and the keys' order."""
    return checksum_bytes(json.dumps(content, sort_keys=True).encode())


def fsync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle(temporary: Path, path: Path) -> None:
    if temporary.is_dir():
        for folder, _, names in os.walk(temporary):
            for name in names:
                os.chmod(Path(folder, name), file_mode())
                fsync(Path(folder, name))
            fsync(Path(folder))
        os.chmod(temporary, folder_mode())
        os.rename(temporary, path)
    else:
        os.chmod(temporary, file_mode())
        fsync(temporary)
        os.replace(temporary, path)
    fsync(path.parent)


def _is_orphan(path: Path) -> bool:
    machine, _, rest = path.name.removeprefix(_PREFIX).partition("-")
    pid, _, birth = rest.partition("-")[0].partition(".")
    if machine == _machine() and pid.isdigit():
        return not _is_alive(int(pid)) or _birth(int(pid)) != birth
    try:
        age = time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return False
    return age > _FOREIGN_ORPHAN_SECONDS


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _birth(pid: int) -> str:
    """When a process began, in clock ticks since the machine did; empty where it is not told.

    A number is given again to another process or thread, the instant beside it never.
    """
    try:
        told = Path("/proc", str(pid), "stat").read_text()  # only Linux has it
    except OSError:
        return ""
    return told.rpartition(")")[2].split()[19]


def _machine() -> str:
    """Where a process number means this process: a host, or a container on it."""
    place = platform.node()
    with suppress(OSError):  # only Linux has it
        place += os.readlink("/proc/self/ns/pid")
    return checksum_bytes(place.encode())


def _os_error(error: BaseException | None) -> OSError | None:
    """The OSError in a chain of causes; libraries such as torch.save hide it behind their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or error.__context__
    return None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__
