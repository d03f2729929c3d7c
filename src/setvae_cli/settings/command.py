"""What each command is told: the sections it needs, composed into one frozen model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from setvae_cli.settings.base import Settings
from setvae_cli.settings.benchmark import CtSettings, MeasureSettings, TriedLoaderSettings
from setvae_cli.settings.compare import ComparisonSettings
from setvae_cli.settings.encoding import EncodingSettings
from setvae_cli.settings.fields import FlatField, flat_fields
from setvae_cli.settings.finetune import (
    TunedLoaderSettings,
    TunedModelSettings,
    TunedObjectiveSettings,
    TunedOptimizerSettings,
    TunedRunSettings,
    TuningSettings,
)
from setvae_cli.settings.folds import FoldSettings
from setvae_cli.settings.model import ModelSettings
from setvae_cli.settings.monitor import MonitorSettings
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.settings.optimizer import OptimizerSettings
from setvae_cli.settings.prepare import GROUP_READABLE, SourceSettings, StoreSettings
from setvae_cli.settings.run import LoaderSettings, RunSettings


class CommandSettings(Settings):
    """Sections inside, one flat list of options outside (YAML, environment, command line).

    Attributes:
        command: Its name.
        listed: Sections of which help lists these options only; the others are accepted unseen.
        forgiving: Whether a SETVAE_* variable that is no setting is left for the command to name.
    """

    command: ClassVar[str]
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    forgiving: ClassVar[bool] = False

    @classmethod
    @cache
    def fields(cls) -> dict[str, FlatField]:
        """Every option of this command by its flat name."""
        return {
            name: replace(field, unlisted=name not in cls.listed.get(field.section or "", (name,)))
            for name, field in flat_fields(cls).items()
        }

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Self:
        """Build from flat names; what is missing keeps its default, and no preset is applied.

        Raises:
            pydantic.ValidationError: A value or a name does not fit.
        """
        nested: dict[str, Any] = {}
        for name, value in values.items():
            field = cls.fields().get(name)
            place = nested.setdefault(field.section, {}) if field and field.section else nested
            place[name] = value
        return cls.model_validate(nested)

    def to_flat(self) -> dict[str, Any]:
        """All values by flat name, as plain text, numbers, lists and None."""
        plain = self.model_dump(mode="json")
        return {
            name: plain[field.section][name] if field.section else plain[name]
            for name, field in self.fields().items()
        }


class PrecomputeSettings(CommandSettings):
    """`setvae precompute`: raw events to a store."""

    command: ClassVar[str] = "precompute"

    data: str | None = Field(
        None,
        min_length=1,
        description="Folder, archive or table of raw events; a STORE with --verify or --inspect.",
        json_schema_extra={"positional": True},
    )
    out: Path | None = Field(None, description="Folder of the store that is written.")
    group_readable: bool = Field(False, description=GROUP_READABLE)
    leaked_groups_file: Path | None = Field(
        None,
        description="Private file for the groups (patients) that stand in more than one of the "
        "given splits, one a line; errors only count them.",
    )
    workers: str | None = Field(
        None,
        description="Processes that read and pack, or the address of a Dask scheduler "
        "(tcp://HOST:PORT, needs the dask extra); default: one a usable core, and one for what "
        "is read in half a second.",
    )
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)

    @field_validator("workers")
    @classmethod
    def _count_or_address(cls, given: str | None) -> str | None:
        number = given is not None and given.isdecimal() and int(given) > 0
        if given is None or number or "://" in given:
            return given
        raise ValueError(
            "must be at least 1 process, or the address of a Dask scheduler; "
            "give a number, or tcp://HOST:PORT"
        )


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
    fold: FoldSettings = Field(default_factory=FoldSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    objective: ObjectiveSettings = Field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings)
    loader: LoaderSettings = Field(default_factory=LoaderSettings)
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


class FinetuneSettings(TrainSettings):
    """`setvae finetune`: a trained encoder to a classifier; a training run with a section more."""

    command: ClassVar[str] = "finetune"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "": ("ckpt", "data", "resume", "resume_from_checkpoint"),
        "source": (),
        "store": (),
        "model": ("head_dropout", "joined_dropout", "input_dropout"),
        "objective": ("label_smoothing", "recon_weight", "max_beta"),
        "optimizer": (
            "lr", "optimizer", "weight_decay", "scheduler", "lr_warmup", "plateau_patience",
            "plateau_factor", "gradient_clip_val", "weight_averaging", "max_epochs", "max_steps",
            "patience",
        ),
    }  # fmt: skip

    ckpt: str | None = Field(
        None,
        min_length=1,
        description="A checkpoint, a run's folder (its best one), or an exported model; default: "
        "the latest run.",
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
        """Every option by its flat name: the checkpoint and what is fine-tuning's own first."""
        first = (None, "tuning", "comparison")
        found = super().fields().items()
        place = {section: number for number, section in enumerate(first)}
        ordered = sorted(found, key=lambda item: place.get(item[1].section, len(first)))
        return dict(ordered)

    @property
    def chosen_by(self) -> str:
        """The measure that chooses the best checkpoint: auc, acc or loss."""
        return self.tuning.monitor.removeprefix("val_")


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


class AnalyzeCurvesSettings(CommandSettings):
    """`setvae analyze-curves`: the curves of runs, drawn and judged."""

    command: ClassVar[str] = "analyze-curves"

    log_dir: tuple[str, ...] = Field(
        (),
        description="Runs, folders of event files, or folders of such; default: the latest run.",
        json_schema_extra={"positional": True},
    )
    logs: str | None = Field(
        None,
        min_length=1,
        description="The same.",
        json_schema_extra={"hidden": True, "spellings": ["--log-dir"], "current": "LOG_DIR"},
    )
    save_dir: Path | None = Field(
        None, description="Folder of the files that are written; default: beside the log."
    )
    compare: bool = Field(False, description="Draw all runs in the same figures.")
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
    group_readable: bool = Field(False, description=GROUP_READABLE)


class VisualizeSettings(CommandSettings):
    """`setvae visualize`: what the latents of a trained model look like."""

    command: ClassVar[str] = "visualize"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {"source": (), "store": ()}

    run_or_ckpt: str | None = Field(
        None,
        min_length=1,
        description="A checkpoint, or a run's folder (its best one); default: the latest run.",
        json_schema_extra={"positional": True},
    )
    checkpoint: str | None = Field(
        None, min_length=1, description="The same.", json_schema_extra={"hidden": True}
    )
    data: str | None = Field(
        None,
        min_length=1,
        description="A store, or raw input with the options of setvae precompute; default: what "
        "the model was trained on.",
        json_schema_extra={"spellings": ["--data-dir"]},
    )
    save_dir: Path | None = Field(
        None,
        description="Folder of the files that are written; default: report/latents in the run.",
    )
    split: Literal["train", "validation", "test"] = Field(
        "validation", description="Which subjects are looked at."
    )
    max_batches: int | None = Field(
        None,
        ge=1,
        description="Look at so many batches of subjects only, a random choice; default: all.",
    )
    batch_size: int = Field(32, ge=1, description="Subjects at once.")
    method: Literal["umap", "pca", "tsne"] = Field(
        "umap", description="How latents are laid out in two dimensions."
    )
    sample_idx: tuple[int, ...] = Field(
        (),
        description="Row numbers of subjects whose time series are drawn, as 3,17; default: four "
        "that are spread over the predicted risk.",
    )
    show_values: bool = Field(
        False,
        description="Draw time series, which show patients' values; those of the simulated "
        "cohort always are.",
    )
    show_ids: bool = Field(False, description="Write subject ids into latents.parquet.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the layout and of random choices.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to compute.")
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
    group_readable: bool = Field(False, description=GROUP_READABLE)
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)


class EvaluateSettings(CommandSettings):
    """`setvae evaluate`: how good the predictions of a trained model are."""

    command: ClassVar[str] = "evaluate"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "source": (),
        "store": (),
        "fold": ("folds", "fold_seed", "fold_label"),
    }

    run_or_ckpt: str | None = Field(
        None,
        min_length=1,
        description="A checkpoint, or a run's folder (its best one); default: the latest run.",
        json_schema_extra={"positional": True},
    )
    checkpoint: str | None = Field(
        None, min_length=1, description="The same.", json_schema_extra={"hidden": True}
    )
    data: str | None = Field(
        None,
        min_length=1,
        description="A store, or raw input with the options of setvae precompute; default: what "
        "the model was trained on.",
        json_schema_extra={"spellings": ["--data-dir"]},
    )
    save_dir: Path | None = Field(
        None,
        description="Folder of the files that are written; default: report/evaluation in the run.",
    )
    split: Literal["train", "validation", "test", "all"] = Field(
        "test", description="Which subjects are predicted and measured."
    )
    label: tuple[str, ...] = Field(
        (), description="Label that is measured; default: all that the model predicts. Repeat it."
    )
    by: tuple[str, ...] = Field(
        (),
        description="Attribute whose groups are measured each by itself, as Gender; a number with "
        "more than ten values is cut at its quartiles. Repeat it.",
    )
    threshold: str = Field(
        "0.5",
        description="Probability above which accuracy and F1 call a subject positive, or "
        "validation: the one with the largest F1 there.",
    )
    resamples: int = Field(1000, ge=0, description="Bootstrap samples of an interval; 0: none.")
    show_ids: bool = Field(False, description="Write subject ids into predictions.parquet.")
    batch_size: int = Field(64, ge=1, description="Subjects at once.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the bootstrap.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to compute.")
    encoder: str | None = Field(
        None,
        min_length=1,
        description="Of a run of setvae finetune --encoder: the same module:attribute again.",
    )
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
    group_readable: bool = Field(False, description=GROUP_READABLE)
    repeats: int = Field(
        1, ge=1, le=100, description="With --folds: how often folds are dealt out anew."
    )
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    fold: FoldSettings = Field(default_factory=FoldSettings)

    @field_validator("threshold", mode="before")
    @classmethod
    def _number_or_split(cls, given: Any) -> str:
        text = str(given)
        try:
            known = text == "validation" or 0 < float(text) < 1
        except ValueError:
            known = False
        if not known:
            raise ValueError("must be a probability between 0 and 1, or validation")
        return text


class EmbedSettings(CommandSettings):
    """`setvae embed`: subjects to vectors, in a table that joins by subject id."""

    command: ClassVar[str] = "embed"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {"source": (), "store": ()}

    run_or_ckpt: str | None = Field(
        None,
        min_length=1,
        description="A checkpoint, or a run's folder (its best one); default: the latest run.",
        json_schema_extra={"positional": True},
    )
    checkpoint: str | None = Field(
        None, min_length=1, description="The same.", json_schema_extra={"hidden": True}
    )
    data: str | None = Field(
        None,
        min_length=1,
        description="A store, or raw input with the options of setvae precompute; default: what "
        "the model was trained on.",
        json_schema_extra={"spellings": ["--data-dir"]},
    )
    out: Path = Field(
        Path("embeddings.parquet"),
        description="The file that is written, with subject ids; it takes the place of an earlier "
        "one at the end.",
    )
    split: Literal["all", "train", "validation", "test"] = Field(
        "all", description="Which subjects are embedded."
    )
    with_labels: bool = Field(False, description="Write the labels too, as label.NAME.")
    encoder: str | None = Field(
        None,
        min_length=1,
        description="Someone else's encoder in place of a checkpoint, as module:attribute, or the "
        "one that the checkpoint was fine-tuned with; its code runs.",
    )
    encoder_checkpoint: Path | None = Field(
        None, description="Weights of --encoder: a file of tensors, in which no code runs."
    )
    batch_size: int = Field(64, ge=1, description="Subjects at once.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to compute.")
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
    group_readable: bool = Field(False, description=GROUP_READABLE)
    encoding: EncodingSettings = Field(default_factory=EncodingSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)

    @model_validator(mode="after")
    def _weights_are_of_an_encoder(self) -> EmbedSettings:
        if self.encoder_checkpoint is not None and self.encoder is None:
            raise ValueError("encoder_checkpoint needs encoder, the code that the weights are of")
        return self


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


COMMANDS: tuple[type[CommandSettings], ...] = (
    PrecomputeSettings,
    TrainSettings,
    FinetuneSettings,
    ResumeSettings,
    BenchmarkLoaderSettings,
    ExportSettings,
    DoctorSettings,
    AnalyzeCurvesSettings,
    VisualizeSettings,
    EmbedSettings,
    EvaluateSettings,
    WatchSettings,
)


def settings_of_run(flat: Mapping[str, Any]) -> TrainSettings:
    """The settings of a run, of whichever command wrote them.

    Args:
        flat: All of them, as `settings.yaml` has them.

    Raises:
        pydantic.ValidationError: A value or a name does not fit.
    """
    own = {name for name, field in FinetuneSettings.fields().items() if field.section == "tuning"}
    return (TrainSettings if own.isdisjoint(flat) else FinetuneSettings).from_flat(flat)
