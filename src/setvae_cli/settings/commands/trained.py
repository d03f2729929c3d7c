"""What every command on a trained model is told first: which one, and about which data."""

from __future__ import annotations

from pydantic import Field

from setvae_cli.settings.commands.base import CommandSettings


class TrainedModelSettings(CommandSettings):
    """A command that opens a checkpoint."""

    run_or_ckpt: str | None = Field(
        None,
        min_length=1,
        description="A checkpoint, or a run's folder (its best one); default: the latest run.",
        json_schema_extra={"positional": True},
    )
    checkpoint: str | None = Field(
        None, min_length=1, description="The same.", json_schema_extra={"hidden": True}
    )


class ModelOnDataSettings(TrainedModelSettings):
    """A command that shows data to a checkpoint."""

    data: str | None = Field(
        None,
        min_length=1,
        description="A store, or raw input with the options of setvae precompute; default: what "
        "the model was trained on.",
        json_schema_extra={"spellings": ["--data-dir"]},
    )
