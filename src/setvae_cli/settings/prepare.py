"""What turns raw events into a store: `setvae precompute`, and `setvae train` on raw input."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from setvae_cli.settings.base import Settings

SourceName = Literal["auto", "simulated", "physionet2012", "seqsetvae", "table"]


GROUP_READABLE = "Let the group read what is written (files 0640, folders 0750)."


class SourceSettings(Settings):
    """Where the events come from and how they are read."""

    source: SourceName = Field("auto", description="Layout of the input; auto recognises it.")
    labels: Path | None = Field(
        None,
        description="File of outcomes (Outcomes-a.txt, oc.csv, or a table of labels; texts become "
        "classes in columns that --map label:NAME=COLUMN names).",
        json_schema_extra={"spellings": ["--label-path"]},
    )
    map: tuple[str, ...] = Field(
        (),
        description="Column of a table for a role, as ROLE=COLUMN; roles: subject, time, code, "
        "value, group, split, set, and label:NAME, attribute:NAME. Repeat it.",
    )
    params_map_path: Path | None = Field(
        None, description="stats.csv of the seqsetvae layout, when it lies elsewhere."
    )
    embeddings_path: Path | None = Field(
        None, description="cached.csv of the seqsetvae layout (code embeddings), when elsewhere."
    )
    subjects: int = Field(1000, ge=20, description="Size of the built-in cohort, subjects.")
    cohort_seed: int = Field(0, ge=0, description="Seed of the built-in cohort.")
    skip_bad_files: bool = Field(
        False, description="Leave out and count input files that cannot be read."
    )
    allow_long: bool = Field(False, description="Keep events more than ten years after time 0.")


class StoreSettings(Settings):
    """How events become sets, splits and a vocabulary."""

    set_window: float | None = Field(
        None, gt=0, description="Minutes that make one set; default: equal minutes make one set."
    )
    categories: tuple[str, ...] = Field(
        (), description="Codes whose values are class numbers, not amounts. Repeat it."
    )
    split_fractions: tuple[float, float, float] = Field(
        (0.7, 0.15, 0.15), description="Shares of train, validation and test, when not given."
    )
    split_seed: int = Field(0, ge=0, description="Seed of the stratified split by group.")

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> StoreSettings:
        shares = self.split_fractions
        if abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:
            got = ",".join(f"{share:g}" for share in shares)
            raise ValueError(f"split_fractions {got} must be at least 0 and sum to 1")
        if not shares[0] > 0:
            raise ValueError("split_fractions must begin with a share of train above 0")
        return self
