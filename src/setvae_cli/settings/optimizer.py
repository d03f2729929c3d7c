"""How weights move: optimizer, schedule, clipping, averaging, stopping."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from setvae_cli.settings.base import Settings


class OptimizerSettings(Settings):
    """AdamW in groups, a schedule over the planned steps, and when to stop."""

    lr: float = Field(1e-3, gt=0, description="Largest learning rate.")
    set_encoder_lr_ratio: float = Field(
        1.0, gt=0, description="Learning rate of the set encoder relative to the rest."
    )
    weight_decay: float = Field(
        0.05, ge=0, description="AdamW weight decay; none on norms, biases and embeddings."
    )
    scheduler: Literal["cosine", "constant"] = Field(
        "cosine", description="Learning rate over the planned steps."
    )
    lr_warmup: float = Field(
        0.1, ge=0, description="Steps of linear warm-up; below 1: a share of all steps."
    )
    gradient_clip_val: float = Field(1.0, ge=0, description="Largest gradient norm; 0: no clip.")
    weight_averaging: float = Field(
        0.998,
        ge=0,
        lt=1,
        description="Decay a step of the averaged weights that are evaluated and kept; 0: off.",
    )
    max_epochs: int = Field(20, ge=1, description="Passes over the training split.")
    max_steps: int | None = Field(None, ge=1, description="Optimizer steps, when fewer.")
    patience: int = Field(
        5, ge=0, description="Validations without a better AUC before stopping; 0: never."
    )
