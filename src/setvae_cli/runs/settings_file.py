"""settings.yaml of a run: every setting, flat, under a last line that seals what stands above it.

    batch_size: 4
    ...
    # crc32 5f0a9c1e

`--config` reads it like any other file. Whoever needs the settings that a run had asks
`read_settings`, which refuses a file that was cut or changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from setvae_cli.errors import InputError
from setvae_cli.files import atomic_write, check_regular, checksum_bytes
from setvae_cli.settings.config_file import read_config, without_home

_SEAL = b"# crc32 "


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write flat settings atomically, paths below the home folder as `~/`.

    Raises:
        RunError: The disk is full, or refuses the write.
    """
    kept = {name: without_home(value) for name, value in settings.items()}
    text = yaml.safe_dump(kept, sort_keys=False).encode()
    atomic_write(path, text + _seal(text))


def read_settings(path: Path) -> dict[str, Any]:
    """Read what `write_settings` wrote, as flat plain values.

    Raises:
        InputError: It is missing, or was cut or changed since.
        SettingsError: It is no plain mapping.
    """
    try:
        content = check_regular(path, "settings of a run").read_bytes()
    except OSError as error:
        raise InputError((error.strerror or "unreadable").lower(), where=str(path)) from error
    text, mark, _ = content.rpartition(_SEAL)
    if not mark or content != text + _seal(text):
        raise InputError(
            "was cut or changed since it was written: its checksum differs",
            where=str(path),
            mend="put it back, and give settings that should differ as options",
        )
    return read_config(path)


def _seal(text: bytes) -> bytes:
    return _SEAL + checksum_bytes(text).encode() + b"\n"
