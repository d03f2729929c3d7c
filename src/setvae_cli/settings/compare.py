"""What a fine-tuned model is compared with, and over how many folds and seeds."""

from __future__ import annotations

from pydantic import Field

from setvae_cli.settings.base import Settings


class ComparisonSettings(Settings):
    """Behind fine-tuning, the table that decides what to use."""

    compare: bool = Field(
        True,
        description="Compare with a linear probe, trees on embeddings, the same network from "
        "scratch and trees on plain summary features; with folds always.",
    )
    repeats: int = Field(
        1, ge=1, le=100, description="With --folds: how often folds are dealt out anew."
    )
    ensemble: int = Field(
        1,
        ge=1,
        le=50,
        description="Seeds of each network; of several, the mean of the fine-tuned models' logits "
        "is a method of its own.",
    )
    with_trees: bool = Field(
        False,
        description="Add a method: the mean of the standardised logits of the fine-tuned model and "
        "of trees on summary features.",
    )
    scratch_epochs: int | None = Field(
        None,
        ge=1,
        description="Epochs of the network from scratch; default: as many as the longer of "
        "pre-training and fine-tuning.",
    )
    resamples: int = Field(
        1000, ge=0, description="Bootstrap samples of an interval; 0: no intervals."
    )
