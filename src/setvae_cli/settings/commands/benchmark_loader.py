"""What `setvae benchmark-loader` is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from setvae_cli.settings.benchmark import CtSettings, MeasureSettings, TriedLoaderSettings
from setvae_cli.settings.commands.base import CommandSettings
from setvae_cli.settings.commands.train import TrainSettings
from setvae_cli.settings.model import ModelSettings
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.settings.optimizer import OptimizerSettings
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.settings.run import LoaderSettings, RunSettings


class BenchmarkLoaderSettings(CommandSettings):
    """`setvae benchmark-loader`: which loader settings suit this data and this machine."""

    command: ClassVar[str] = "benchmark-loader"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "model": ("preset",),
        "objective": (),
        "optimizer": (),
        "run": ("output_dir", "seed", "precision", "device", "threads"),
    }

    data: str | None = Field(
        None,
        min_length=1,
        description="A store, or raw input that is precomputed once; default: a built-in cohort.",
        json_schema_extra={"spellings": ["--data-dir"]},
    )
    measure: MeasureSettings = Field(default_factory=MeasureSettings)
    loader: TriedLoaderSettings = Field(default_factory=TriedLoaderSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    objective: ObjectiveSettings = Field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings)
    run: RunSettings = Field(default_factory=RunSettings)
    ct: CtSettings = Field(default_factory=CtSettings)

    def training(self, batch_size: int, workers: int) -> TrainSettings:
        """The training settings of one configuration."""
        loader = self.loader.model_dump() | {"batch_size": batch_size, "num_workers": workers}
        return TrainSettings(
            data=self.data,
            source=self.source,
            store=self.store,
            model=self.model,
            objective=self.objective,
            optimizer=self.optimizer,
            loader=LoaderSettings.model_validate(loader),
            run=self.run,
        )
