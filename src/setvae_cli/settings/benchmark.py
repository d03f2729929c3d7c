"""What a benchmark of the loader tries, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from setvae_cli.settings.base import Settings
from setvae_cli.settings.run import LoaderSettings

CT_ONLY: dict[str, JsonValue] = {"hidden": True, "current": ""}


class MeasureSettings(Settings):
    """How a configuration is measured."""

    cache: Literal["warm", "cold", "both"] = Field(
        "warm",
        description="The store's files are in the system's page cache (read beforehand), or "
        "dropped from it before each pass.",
    )
    num_batches: int = Field(
        100, ge=1, description="Batches timed a pass, after its first; at most one epoch."
    )
    repeats: int = Field(
        3, ge=1, le=1000, description="Passes of each configuration, interleaved with the others."
    )
    with_model: bool = Field(
        False, description="Time training steps on the same batches too; name the bottleneck."
    )
    cache_data: bool = Field(
        False,
        description="The original's word for a warm cache.",
        json_schema_extra={"hidden": True, "current": "--cache warm"},
    )

    @model_validator(mode="after")
    def _one_cache(self) -> MeasureSettings:
        if self.cache_data and self.cache != "warm":
            raise ValueError(f"cache_data asks for a warm cache, cache for {self.cache}; give one")
        return self


class TriedLoaderSettings(LoaderSettings):
    """Training's loader with several values where the benchmark compares some."""

    batch_size: tuple[int, ...] = Field(  # type: ignore[assignment]  # a list of what is tried
        (4,), description="Subjects a batch; several, as 4,32, are tried one by one."
    )
    num_workers: tuple[int, ...] | None = Field(  # type: ignore[assignment]
        None,
        description="Loader processes to try, as 0,2,4; default: 0, 1, 2, 4, ... up to the usable "
        "cores, at most 8.",
        json_schema_extra={"spellings": ["--workers", "--test-workers"]},
    )

    @field_validator("batch_size", "num_workers", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | str) else value

    @field_validator("batch_size")
    @classmethod
    def _batches_hold_someone(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        return _ascending(sizes, least=1)

    @field_validator("num_workers")
    @classmethod
    def _no_negative_workers(cls, counts: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if counts is None else _ascending(counts, least=0)

    @model_validator(mode="after")
    def _one_measure_of_batches(self) -> TriedLoaderSettings:
        if self.max_elements_per_batch is not None and len(self.batch_size) > 1:
            raise ValueError("max_elements_per_batch takes the place of batch_size; give one")
        return self


class CtSettings(Settings):
    """What the original's benchmark asked of CT windows; named here so that it can be answered."""

    roots: str | None = Field(
        None, description="Folders of CT windows; not in this version.", json_schema_extra=CT_ONLY
    )
    window_type: str | None = Field(
        None, description="Kind of CT window; not in this version.", json_schema_extra=CT_ONLY
    )
    precompute_sparse: bool = Field(
        False, description="Prepare CT windows; not in this version.", json_schema_extra=CT_ONLY
    )
    force: bool = Field(
        False, description="Prepare them again; not in this version.", json_schema_extra=CT_ONLY
    )

    @field_validator("roots")
    @classmethod
    def _no_roots(cls, value: str | None) -> None:
        _refuse(value, "names CT windows", "name a store or raw events with --data")

    @field_validator("window_type")
    @classmethod
    def _no_window_type(cls, value: str | None) -> None:
        _refuse(value, "chooses CT windows", "leave it out, and name events with --data")

    @field_validator("precompute_sparse")
    @classmethod
    def _no_sparse_windows(cls, value: bool) -> bool:
        _refuse(value, "prepares CT windows", "events are prepared by setvae precompute")
        return value

    @field_validator("force")
    @classmethod
    def _no_second_time(cls, value: bool) -> bool:
        _refuse(value, "prepares CT windows again", "events are prepared by setvae precompute")
        return value


def _refuse(value: object, what: str, mend: str) -> None:
    if value:
        raise ValueError(f"{what}, which this version cannot read yet; {mend}")


def _ascending(values: Sequence[int], *, least: int) -> tuple[int, ...]:
    """Each once, the smallest first."""
    if not values:
        raise ValueError(f"must name at least one number from {least} on")
    if min(values) < least:
        raise ValueError(f"must be at least {least}, got {min(values)}")
    return tuple(sorted(set(values)))
