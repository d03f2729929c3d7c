"""What `setvae resume` is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from setvae_cli.settings.commands.train import TrainSettings


class ResumeSettings(TrainSettings):
    """`setvae resume`: a run goes on; options that are given replace the run's own."""

    command: ClassVar[str] = "resume"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "": ("data", "run_or_ckpt", "encoder"),
        "source": (),
        "store": (),
        "fold": (),
        "model": (),
    }

    run_or_ckpt: str | None = Field(
        None,
        min_length=1,
        description="A run's folder or a checkpoint in it; default: the latest run.",
        json_schema_extra={"positional": True},
    )
    checkpoint: str | None = Field(
        None, min_length=1, description="The same.", json_schema_extra={"hidden": True}
    )
    encoder: str | None = Field(
        None,
        min_length=1,
        description="Of a run of setvae finetune --encoder: the same module:attribute again.",
    )
