"""What `setvae train` is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from setvae_cli.settings.commands.base import CommandSettings
from setvae_cli.settings.folds import FoldSettings
from setvae_cli.settings.model import ModelSettings
from setvae_cli.settings.monitor import MonitorSettings
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.settings.optimizer import OptimizerSettings
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.settings.run import LoaderSettings, RunSettings


class TrainSettings(CommandSettings):
    """`setvae train`: a store, or raw events, to a trained model."""

    command: ClassVar[str] = "train"

    data: str | None = Field(
        None,
        min_length=1,
        description="A store, or raw input that is precomputed once; default: a built-in cohort.",
        json_schema_extra={"spellings": ["--data-dir"]},
    )
    resume: Literal["auto", "never"] = Field(
        "never", description="auto: go on with the latest run of this name, if there is one."
    )
    resume_from_checkpoint: Path | None = Field(
        None, description="A run or a checkpoint to go on from, as setvae resume does."
    )
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    objective: ObjectiveSettings = Field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings)
    loader: LoaderSettings = Field(default_factory=LoaderSettings)
    fold: FoldSettings = Field(default_factory=FoldSettings)
    monitor: MonitorSettings = Field(default_factory=MonitorSettings)
    run: RunSettings = Field(default_factory=RunSettings)

    @property
    def chosen_by(self) -> str:
        """The measure that chooses the best checkpoint; the loss stands in where it is absent."""
        return "auc"

    def with_devices(self, devices: int) -> Self:
        """The same settings on so many devices a machine."""
        return self.model_copy(update={"run": self.run.model_copy(update={"devices": devices})})

    def given(self) -> dict[str, Any]:
        """Flat values that were given anywhere, and are not just defaults."""
        flat = self.to_flat()
        sections = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: flat[name]
            for name, field in self.fields().items()
            if name in (sections[field.section] if field.section else self).model_fields_set
        }
