"""What `setvae export` is told."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from setvae_cli.settings.commands.trained import TrainedModelSettings


class ExportSettings(TrainedModelSettings):
    """`setvae export`: a trained model to one file for sharing."""

    command: ClassVar[str] = "export"

    out: Path = Field(Path("model.safetensors"), description="The file that is written.")
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
