"""What `setvae evaluate` is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from setvae_cli.settings.commands.trained import ModelOnDataSettings
from setvae_cli.settings.folds import FoldSettings
from setvae_cli.settings.prepare import GROUP_READABLE, SourceSettings, StoreSettings


class RepeatedFoldSettings(FoldSettings):
    """Every fold, and every way of dealing them out."""

    repeats: int = Field(
        1, ge=1, le=100, description="With --folds: how often folds are dealt out anew."
    )


class EvaluateSettings(ModelOnDataSettings):
    """`setvae evaluate`: how good the predictions of a trained model are."""

    command: ClassVar[str] = "evaluate"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "source": (),
        "store": (),
        "fold": ("folds", "repeats", "fold_seed", "fold_label"),
    }

    save_dir: Path | None = Field(
        None,
        description="Folder of the files that are written; default: report/evaluation in the run, "
        "with another split, data or checkpoint than usual in its name.",
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
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    fold: RepeatedFoldSettings = Field(default_factory=RepeatedFoldSettings)

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
