"""What `setvae watch` is told."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from setvae_cli.settings.commands.base import CommandSettings


class WatchSettings(CommandSettings):
    """`setvae watch`: a run, or several, in the terminal."""

    command: ClassVar[str] = "watch"

    run_or_root: str | None = Field(
        None,
        min_length=1,
        description="A run's folder, a checkpoint in it, or a folder of runs; default: the latest "
        "run.",
        json_schema_extra={"positional": True},
    )
    once: bool = Field(False, description="One plain picture instead of one that is redrawn.")
    until_end: bool = Field(
        False,
        description="Stop by itself once the run has finished or was interrupted; of several, all.",
    )
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
