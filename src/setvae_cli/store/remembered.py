"""What was verified of a store, so that the next run does not read it again: a small JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from setvae_cli.errors import SetvaeError
from setvae_cli.files import atomic_write, check_regular, checksum_plain, make_folder

FileState = tuple[int, int, int]


class Remembered(BaseModel):
    """Files of one store whose bytes were compared with their checksums."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    format_version: Literal[1] = Field(1, description="Version of this layout")
    store: str = Field(description="Digest of the store")
    files: dict[str, FileState] = Field(
        description="Size in bytes, modification time in ns and inode a file, when it was verified"
    )
    checksum: str | None = Field(None, description="CRC-32 of all other fields, hexadecimal")


def file_state(path: Path) -> FileState | None:
    """Size, modification time and inode of a file; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def recall(folder: Path, store: str) -> dict[str, FileState]:
    """The files of a store that were verified, as they were then; a damaged record holds none.

    Args:
        folder: What `remember` was given.
        store: Digest of the store.
    """
    path = _record(folder, store)
    try:
        plain = json.loads(check_regular(path, "record").read_bytes())
        record = Remembered.model_validate(plain)
        del plain["checksum"]
    except (SetvaeError, OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    return record.files if (record.store, record.checksum) == (store, checksum_plain(plain)) else {}


def remember(folder: Path, store: str, files: Mapping[str, FileState]) -> None:
    """Write which files of a store were verified, in place of what was written before.

    Raises:
        SetvaeError: The disk refuses.
    """
    record = Remembered(store=store, files=dict(files))
    plain = record.model_dump(mode="json", exclude={"checksum"})
    text = json.dumps(plain | {"checksum": checksum_plain(plain)}, indent=1)
    atomic_write(_record(make_folder(folder), store), text + "\n")


def forget(folder: Path, store: str) -> None:
    """Remove what was remembered of a store, if anything."""
    _record(folder, store).unlink(missing_ok=True)


def _record(folder: Path, store: str) -> Path:
    return folder / f"verified-{store[:32]}.json"
