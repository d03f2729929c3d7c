"""What `setvae export` is told."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from setvae_cli.settings.commands.base import CommandSettings


class ExportSettings(CommandSettings):
    """`setvae export`: a trained model to one file for sharing."""

    command: ClassVar[str] = "export"

    run_or_ckpt: str | None = Field(
        None,
        min_length=1,
        description="A checkpoint, or a run's folder (its best one); default: the latest run.",
        json_schema_extra={"positional": True},
    )
    checkpoint: str | None = Field(
        None, min_length=1, description="The same.", json_schema_extra={"hidden": True}
    )
    out: Path = Field(Path("model.safetensors"), description="The file that is written.")
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
