"""What each command is told: the sections it needs, composed into one frozen model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field

from setvae_cli.settings.base import Settings
from setvae_cli.settings.fields import FlatField, flat_fields
from setvae_cli.settings.model import ModelSettings
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.settings.optimizer import OptimizerSettings
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.settings.run import LoaderSettings, RunSettings


class CommandSettings(Settings):
    """Sections inside, one flat list of options outside (YAML, environment, command line)."""

    command: ClassVar[str]

    @classmethod
    @cache
    def fields(cls) -> dict[str, FlatField]:
        """Every option of this command by its flat name."""
        return flat_fields(cls)

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
    workers: int | None = Field(
        None, ge=1, description="Processes that read and pack; default: one a usable core."
    )
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)


class TrainSettings(CommandSettings):
    """`setvae train`: a store, or raw events, to a trained model."""

    command: ClassVar[str] = "train"

    data: str | None = Field(
        None,
        min_length=1,
        description="A store, or raw input that is precomputed once; default: a built-in cohort.",
        json_schema_extra={"spellings": ["--data-dir"]},
    )
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    objective: ObjectiveSettings = Field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings)
    loader: LoaderSettings = Field(default_factory=LoaderSettings)
    run: RunSettings = Field(default_factory=RunSettings)


COMMANDS: tuple[type[CommandSettings], ...] = (PrecomputeSettings, TrainSettings)
