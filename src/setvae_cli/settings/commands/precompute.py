"""What `setvae precompute` is told."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from setvae_cli.settings.commands.base import CommandSettings
from setvae_cli.settings.prepare import GROUP_READABLE, SourceSettings, StoreSettings


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
