"""How a trained encoder is made a classifier: its head, who learns when, what counts how much."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from setvae_cli.settings.base import Settings
from setvae_cli.settings.model import ModelSettings
from setvae_cli.settings.objective import LABEL_FREE, ObjectiveSettings
from setvae_cli.settings.optimizer import OptimizerSettings
from setvae_cli.settings.run import LoaderSettings, RunSettings

_UNTIL = re.compile(r"until:(\d+)(?:,(\d+))?(steps)?")
Monitored = Literal["val_auc", "val_acc", "val_loss"]


@dataclass(frozen=True)
class Frozen:
    """Until when weights rest.

    Attributes:
        bounds: Where the next part begins to learn: one number, or two with stages; empty: all
            learn from the beginning.
        unit: What they count; `always`: only the head learns.
    """

    bounds: tuple[int, ...]
    unit: Literal["epochs", "steps", "always"]


class TuningSettings(Settings):
    """The classifier on top of an encoder, and how the two learn together."""

    label: tuple[str, ...] = Field(
        (), description="Label that is predicted; default: all of the data. Repeat it."
    )
    n_classes: tuple[int, ...] = Field(
        (),
        description="Number of classes, one a label; default: what the labels tell.",
    )
    class_weights: str = Field(
        "none",
        description="none, balanced (by training labels), or a weight for each class, as 1,5.",
    )
    monitor: Monitored = Field(
        "val_auc", description="What chooses the best checkpoint, and what --patience waits for."
    )
    head_hidden_dims: tuple[int, ...] | None = Field(
        (256, 128),
        description="Widths of the head's hidden layers; none: the head of setvae train.",
    )
    activation: Literal["relu", "gelu", "silu", "tanh"] = Field(
        "relu", description="Activation between the head's layers."
    )
    encoder_lr_ratio: float = Field(
        0.1, gt=0, description="Learning rate of the encoder relative to the head's."
    )
    freeze: str = Field(
        "none",
        description="none, all (only the head learns), until:5 (epochs) or until:500steps.",
    )
    unfreeze: Literal["at-once", "stages"] = Field(
        "at-once",
        description="stages: with --freeze until:2,4 the head learns first, behind 2 epochs the "
        "history and the axes too, behind 4 all; default: at-once.",
    )
    freeze_encoder: bool = Field(
        False,
        description="As --freeze all.",
        json_schema_extra={"hidden": True, "current": "--freeze all"},
    )
    freeze_epochs: int | None = Field(
        None,
        ge=0,
        description="As --freeze until:N.",
        json_schema_extra={"hidden": True, "current": "--freeze until:N"},
    )
    allow_partial: bool = Field(
        False, description="Go on where weights of CKPT are missing or do not fit."
    )
    encoder: str | None = Field(
        None,
        min_length=1,
        description="Someone else's encoder in place of CKPT, as module:attribute; its code runs.",
    )
    encoder_checkpoint: Path | None = Field(
        None, description="Weights of --encoder: a file of tensors, in which no code runs."
    )
    pool: Literal["last", "mean", "attention"] | None = Field(
        None,
        description="What becomes of the states of --encoder: the last, their mean, or an average "
        "that is learned (attention); default: last.",
    )

    @field_validator("n_classes", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return (given,) if isinstance(given, int) else given

    @field_validator("n_classes", "head_hidden_dims")
    @classmethod
    def _sizes(cls, sizes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if sizes is not None and any(size < 1 for size in sizes):
            raise ValueError("must be whole numbers of at least 1")
        return sizes

    @field_validator("class_weights")
    @classmethod
    def _weights(cls, given: str) -> str:
        words = given.replace(" ", "")
        if words in ("none", "balanced"):
            return words
        try:
            numbers = [float(word) for word in words.split(",")]
        except ValueError:
            numbers = []
        if not numbers or not all(0 < number < float("inf") for number in numbers):
            raise ValueError("must be none, balanced, or numbers above 0, as 1,5")
        return words

    @field_validator("freeze")
    @classmethod
    def _known(cls, given: str) -> str:
        if given not in ("none", "all") and not _UNTIL.fullmatch(given):
            raise ValueError("must be none, all, until:5 or until:500steps")
        return given

    @model_validator(mode="after")
    def _fit_together(self) -> TuningSettings:
        both = self.freeze_encoder and self.freeze_epochs is not None
        if both or (self._aliases and self.freeze != "none"):
            raise ValueError(
                "freeze, freeze_encoder and freeze_epochs say one thing in three ways; keep one"
            )
        bounds = self.frozen.bounds
        if len(bounds) == 2 and self.unfreeze != "stages":
            raise ValueError("freeze has two bounds, which are for stages; add --unfreeze stages")
        if len(bounds) == 2 and bounds[0] > bounds[1]:
            raise ValueError("freeze has two bounds, and the first is the later one; swap them")
        if self.unfreeze == "stages" and not bounds:
            raise ValueError("unfreeze stages needs a bound in freeze, such as until:5")
        if self.encoder_checkpoint is not None and self.encoder is None:
            raise ValueError("encoder_checkpoint needs encoder, the code that the weights are of")
        return self

    @property
    def frozen(self) -> Frozen:
        """Until when weights rest, however it was said."""
        if self.freeze == "all" or self.freeze_encoder:
            return Frozen((), "always")
        if self.freeze_epochs is not None:
            return self._staged(self.freeze_epochs, None, "epochs")
        found = _UNTIL.fullmatch(self.freeze)
        if found is None:
            return Frozen((), "epochs")
        last = None if found[2] is None else int(found[2])
        return self._staged(int(found[1]), last, "steps" if found[3] else "epochs")

    @property
    def freeze_option(self) -> str:
        """How it was said."""
        if self.freeze_epochs is not None:
            return f"--freeze-epochs {self.freeze_epochs}"
        return "--freeze-encoder" if self.freeze_encoder else f"--freeze {self.freeze}"

    @property
    def numbers(self) -> tuple[float, ...]:
        """Class weights that were given as numbers."""
        if self.class_weights in ("none", "balanced"):
            return ()
        return tuple(float(word) for word in self.class_weights.split(","))

    @property
    def _aliases(self) -> bool:
        return self.freeze_encoder or self.freeze_epochs is not None

    def _staged(self, first: int, last: int | None, unit: Literal["epochs", "steps"]) -> Frozen:
        if last is not None:
            return Frozen((first, last), unit)
        return Frozen((first, 2 * first) if self.unfreeze == "stages" else (first,), unit)


class TunedModelSettings(ModelSettings):
    """The architecture of the checkpoint; only what weakens over-fitting may change."""

    head_dropout: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Dropout of the subject's embedding and of the head's hidden layers.",
        json_schema_extra={"spellings": ["--dropout"]},
    )
    dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Dropout inside the history.",
        json_schema_extra={"option": "--history-dropout"},
    )


class TunedObjectiveSettings(ObjectiveSettings):
    """Prediction; the terms of the VAE can stay beside it."""

    max_beta: float = Field(0.0, ge=0, description="Largest weight of the KL term.")
    recon_weight: float = Field(0.0, ge=0, description="Weight of reconstruction.")

    def has(self, part: str) -> bool:
        """Whether a part is summed; the terms of the VAE are where one of them has a weight."""
        return self.keeps_elbo if part == LABEL_FREE else super().has(part)


class TunedOptimizerSettings(OptimizerSettings):
    """As in training, with what fine-tuning chooses otherwise."""

    lr: float = Field(1e-4, gt=0, description="Largest learning rate, of the head.")
    optimizer: Literal["adam", "adamw"] = Field(
        "adamw", description="adam adds weight decay to the gradient, adamw to the step."
    )
    weight_decay: float = Field(
        1e-5, ge=0, description="Weight decay; none on norms, biases and embeddings."
    )
    scheduler: Literal["cosine", "plateau", "none"] = Field(  # type: ignore[assignment]
        "cosine",
        description="Learning rate: down to 0 at the planned end, lower where --monitor gets no "
        "better, or the same; all after a warm-up.",
    )
    plateau_patience: int = Field(
        3, ge=1, description="With plateau: validations without a better one until it falls."
    )
    plateau_factor: float = Field(
        0.5, gt=0, lt=1, description="With plateau: what it is multiplied by then."
    )
    max_epochs: int = Field(50, ge=1, description="Passes over the training split.")
    patience: int = Field(
        10, ge=0, description="Validations without a better --monitor before stopping; 0: never."
    )


class TunedLoaderSettings(LoaderSettings):
    """As in training, with what fine-tuning chooses otherwise."""

    batch_size: int = Field(32, ge=1, description="Subjects a micro-batch and device.")
    gradient_accumulation_steps: int = Field(1, ge=1, description="Micro-batches a step.")


class TunedRunSettings(RunSettings):
    """As in training, with what fine-tuning chooses otherwise."""

    name: str = Field("finetune", description="Name of the run's folder below the output folder.")
    save_top_k: int = Field(3, ge=1, description="Best checkpoints by validation that are kept.")
