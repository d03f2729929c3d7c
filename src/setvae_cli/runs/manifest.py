"""manifest.json: what a run ran on and with, without host, user or path."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from setvae_cli.errors import InputError
from setvae_cli.files import atomic_write, check_regular, checksum_plain

_PACKAGES = ("setvae-cli", "torch", "pytorch-lightning", "numpy", "pyarrow", "pydantic")


class Manifest(BaseModel):
    """A run's circumstances."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format_version: int = Field(1, description="Version of this file's layout.")
    started: str = Field(description="Start, UTC, to the second.")
    versions: dict[str, str] = Field(description="Python and packages.")
    git: dict[str, str | bool] | None = Field(description="Commit of the code, and local changes.")
    environment: dict[str, str | int] = Field(description="Machine without host or user.")
    data_digest: str = Field(description="Digest of the store.")
    seed: int = Field(description="Seed of the run.")
    started_from: dict[str, str | int] | None = Field(
        None, description="Of a fine-tuning run: what of the trained model was loaded."
    )
    checksum: str | None = Field(None, description="CRC-32 of all other fields, hexadecimal.")


def describe_run(
    *,
    data_digest: str,
    seed: int,
    device: str,
    precision: str,
    threads: int,
    started_from: dict[str, str | int] | None = None,
) -> Manifest:
    """Collect the manifest of a run that starts now."""
    environment: dict[str, Any] = {
        "system": platform.system(),
        "release": platform.release(),
        "processor": platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "device": device,
        "precision": precision,
    }
    return Manifest(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **_versions()},
        git=_git(Path(__file__).parent),
        environment=environment,
        data_digest=data_digest,
        seed=seed,
        started_from=started_from,
    )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest atomically, with its checksum.

    Raises:
        RunError: The disk is full, or refuses the write.
    """
    plain = manifest.model_dump(mode="json", exclude={"checksum"})
    text = json.dumps({**plain, "checksum": checksum_plain(plain)}, indent=2)
    atomic_write(path, text + "\n")


def read_manifest(path: Path) -> Manifest:
    """Read what `write_manifest` wrote.

    Raises:
        InputError: It is missing, or was cut or changed since.
    """
    try:
        plain = json.loads(check_regular(path, "manifest of a run").read_bytes())
        manifest = Manifest.model_validate(plain)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path) from error
    written = plain.pop("checksum", None)
    if written is not None and written != checksum_plain(plain):
        raise _damaged(path)
    return manifest


def _damaged(path: Path) -> InputError:
    return InputError("is damaged, or was changed since it was written", where=str(path))


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git(folder: Path) -> dict[str, str | bool] | None:
    """Commit and state of the checkout that holds this code; None for an installed package."""
    try:
        commit = _ask_git(folder, "rev-parse", "HEAD")
        changed = _ask_git(folder, "status", "--porcelain", "--untracked-files=no", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changed)}


def _ask_git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        check=True,
        text=True,
        timeout=10,
    )
    return answer.stdout.strip()
