"""What `setvae finetune` is told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import ClassVar

from pydantic import Field

from setvae_cli.settings.commands.train import TrainSettings
from setvae_cli.settings.compare import ComparisonSettings
from setvae_cli.settings.fields import FlatField
from setvae_cli.settings.finetune import (
    TunedLoaderSettings,
    TunedModelSettings,
    TunedObjectiveSettings,
    TunedOptimizerSettings,
    TunedRunSettings,
    TuningSettings,
)


class FinetuneSettings(TrainSettings):
    """`setvae finetune`: a trained encoder to a classifier; a training run with a section more."""

    command: ClassVar[str] = "finetune"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "": ("ckpt", "data", "resume", "resume_from_checkpoint"),
        "source": (),
        "store": (),
        "fold": ("folds", "fold", "fold_seed", "fold_label", "label_fraction"),
        "model": ("head_dropout", "joined_dropout", "input_dropout"),
        "objective": ("label_smoothing", "recon_weight", "max_beta"),
        "optimizer": (
            "lr", "optimizer", "weight_decay", "scheduler", "lr_warmup", "plateau_patience",
            "plateau_factor", "gradient_clip_val", "weight_averaging", "max_epochs", "max_steps",
            "patience",
        ),
        "loader": (
            "batch_size", "max_elements_per_batch", "gradient_accumulation_steps",
            "max_sequence_length", "num_workers",
        ),
        "monitor": (),
        "run": (
            "output_dir", "name", "seed", "precision", "device", "threads", "val_check_interval",
            "save_top_k", "group_readable", "devices",
        ),
    }  # fmt: skip

    ckpt: str | None = Field(
        None,
        min_length=1,
        description="A checkpoint, a run's folder (its best one), or an exported model; default: "
        "the latest run of setvae train.",
        json_schema_extra={"positional": True},
    )
    checkpoint: str | None = Field(
        None, min_length=1, description="The same.", json_schema_extra={"hidden": True}
    )
    data: str | None = Field(
        None,
        min_length=1,
        description="A store, or raw input with the options of setvae precompute; default: what "
        "the checkpoint was trained on.",
        json_schema_extra={"spellings": ["--data-dir"]},
    )
    tuning: TuningSettings = Field(default_factory=TuningSettings)
    comparison: ComparisonSettings = Field(default_factory=ComparisonSettings)
    model: TunedModelSettings = Field(default_factory=TunedModelSettings)
    objective: TunedObjectiveSettings = Field(default_factory=TunedObjectiveSettings)
    optimizer: TunedOptimizerSettings = Field(default_factory=TunedOptimizerSettings)
    loader: TunedLoaderSettings = Field(default_factory=TunedLoaderSettings)
    run: TunedRunSettings = Field(default_factory=TunedRunSettings)

    @classmethod
    @cache
    def fields(cls) -> dict[str, FlatField]:
        """Every option by its flat name, in the order in which fine-tuning is thought about."""
        first = (None, "tuning", "optimizer", "objective", "model", "comparison", "fold")
        found = super().fields().items()
        place = {section: number for number, section in enumerate(first)}
        ordered = sorted(found, key=lambda item: place.get(item[1].section, len(first)))
        return dict(ordered)

    @property
    def chosen_by(self) -> str:
        """The measure that chooses the best checkpoint: auc, acc or loss."""
        return self.tuning.monitor.removeprefix("val_")
