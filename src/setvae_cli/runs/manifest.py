"""manifest.json: what a run ran on and with, without host, user or path."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_PACKAGES = ("setvae-cli", "torch", "pytorch-lightning", "numpy", "pyarrow", "pydantic")


class Manifest(BaseModel):
    """A run's circumstances."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = Field(1, description="Version of this file's layout.")
    started: str = Field(description="Start, UTC, to the second.")
    versions: dict[str, str] = Field(description="Python and packages.")
    git: dict[str, str | bool] | None = Field(description="Commit of the code, and local changes.")
    environment: dict[str, str | int] = Field(description="Machine without host or user.")
    data_digest: str = Field(description="Digest of the store.")
    seed: int = Field(description="Seed of the run.")


def describe_run(
    *, data_digest: str, seed: int, device: str, precision: str, threads: int
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
    )


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
