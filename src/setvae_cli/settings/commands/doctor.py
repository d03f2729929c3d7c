"""What `setvae doctor` is told."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from setvae_cli.settings.commands.base import CommandSettings


class DoctorSettings(CommandSettings):
    """`setvae doctor`: what is wrong with this machine, or with something that setvae wrote."""

    command: ClassVar[str] = "doctor"
    forgiving: ClassVar[bool] = True

    path: str | None = Field(
        None,
        min_length=1,
        description="A store, a run's folder, a checkpoint or an exported model; default: this "
        "machine.",
        json_schema_extra={"positional": True},
    )
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
