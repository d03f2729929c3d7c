"""What each command is told: the sections it needs, composed into one frozen model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from setvae_cli.settings.base import Settings
from setvae_cli.settings.benchmark import CtSettings, MeasureSettings, TriedLoaderSettings
from setvae_cli.settings.fields import FlatField, flat_fields
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
    model: ModelSettings = Field(default_factory=ModelSettings)
    objective: ObjectiveSettings = Field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings)
    loader: LoaderSettings = Field(default_factory=LoaderSettings)
    monitor: MonitorSettings = Field(default_factory=MonitorSettings)
    run: RunSettings = Field(default_factory=RunSettings)

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
        "": ("data", "run_or_ckpt"),
        "source": (),
        "store": (),
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
    ResumeSettings,
    BenchmarkLoaderSettings,
    ExportSettings,
    DoctorSettings,
    AnalyzeCurvesSettings,
    VisualizeSettings,
    WatchSettings,
)
