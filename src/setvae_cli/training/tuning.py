"""What a fine-tuning run does beside training: parts rest, the rate falls, accuracy is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from setvae_cli.data.batch import SetBatch
from setvae_cli.encoders.classifier import Model
from setvae_cli.evaluation.sweep import Swept
from setvae_cli.runs.checkpoint import Header
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.training.diagnosis import Facts, diagnose
from setvae_cli.training.freezing import Freezing, encoder_parameters
from setvae_cli.training.measured import Measured
from setvae_cli.training.plateau import Plateau
from setvae_cli.training.ranks import add_up
from setvae_cli.training.thresholded import right, thresholded

T = TypeVar("T")


class Tuning:
    """Stands beside a module in training; all of its state is in every checkpoint.

    Args:
        model: The model in training.
        settings: Of the run.
        header: Knows what is predicted.

    Attributes:
        losses: Mean prediction loss of each epoch, nats a label.
    """

    def __init__(
        self,
        model: Model,
        settings: FinetuneSettings,
        header: Header,
    ) -> None:
        self._settings, self._model = settings, model
        self._tasks, self._classes = header.tasks, header.classes
        self.freezing = Freezing(
            model, settings.tuning.frozen, keeps_elbo=settings.objective.keeps_elbo
        )
        optimizer = settings.optimizer
        self._plateau = Plateau(optimizer.plateau_patience, optimizer.plateau_factor)
        self.losses: list[float] = []
        self._norms: list[float] = []
        self._resting: list[float] = []
        self._begun: list[Tensor] = []  # of the step that is not done yet
        self._counted = {"step": torch.zeros(2), "epoch": torch.zeros(2)}

    @property
    def slow(self) -> tuple[list[nn.Parameter], float]:
        """All weights but those of the head, and their share of the learning rate."""
        return encoder_parameters(self._model), self._settings.tuning.encoder_lr_ratio

    @property
    def lowered(self) -> float:
        """What a plateau has left of the learning rate."""
        return self._plateau.factor if self._settings.optimizer.scheduler == "plateau" else 1.0

    def begin_batch(self, step: int, epoch: int) -> None:
        """Let parts rest or learn as a step asks for; both are counted from 0."""
        self.freezing.apply(step, epoch)

    def see(self, logits: Float[Tensor, "subjects outputs"], batch: SetBatch) -> None:
        """Count right predictions of a training batch."""
        counts = right(logits.detach(), batch.labels, batch.label_mask, self._classes)
        self._begun.append(counts)

    def end_step(self, *, good: bool) -> None:
        """A step is done, or was skipped."""
        if good and self._begun:
            mine = add_up(torch.stack(self._begun).sum(0))
            self._counted = {unit: sums.to(mine) + mine for unit, sums in self._counted.items()}
        self._begun = []

    def take(self, unit: str) -> dict[str, float]:
        """Accuracy of training since the last call for a unit, `step` or `epoch`."""
        correct, labelled = self._counted[unit].tolist()
        self._counted[unit] = torch.zeros(2)
        return {f"train_acc_{unit}": correct / labelled} if labelled else {}

    def end_epoch(self, means: Mapping[str, float]) -> None:
        """Remember the means of an epoch, for a diagnosis."""
        self.losses.append(means.get("train_pred_epoch", float("nan")))
        self._norms.append(means.get("train_grad_norm_epoch", float("nan")))
        self._resting.append(self.freezing.share)

    def validated(self, found: Measured, swept: Swept) -> Measured:
        """What a validation said, with accuracy and F1 as fine-tuning calls them."""
        scalars, absent = thresholded(swept, self._tasks, self._classes)
        whole = replace(
            found,
            scalars={**_without_accuracy(found.scalars), **scalars},
            absent={**_without_accuracy(found.absent), **absent},
        )
        measure, value = whole.chosen(self._settings.chosen_by)
        self._plateau.observe(value, higher_is_better=measure != "loss")
        return whole

    def diagnosis(self, labels: Mapping[str, list[int]], guessing: float) -> str | None:
        """Why the loss did not fall, if it did not.

        Args:
            labels: Training subjects of each class, by label.
            guessing: Loss of predicting the shares of classes, nats a label.
        """
        settings = self._settings
        return diagnose(
            Facts(
                losses=tuple(self.losses),
                guessing=guessing,
                norms=tuple(self._norms),
                clip=settings.optimizer.gradient_clip_val,
                rate=settings.optimizer.lr,
                ratio=settings.tuning.encoder_lr_ratio,
                resting=self._resting[-1] if self._resting else 0.0,
                labels=labels,
            )
        )

    def state(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        return {
            "plateau": self._plateau.state(),
            "losses": list(self.losses),
            "norms": list(self._norms),
            "resting": list(self._resting),
            "counted": {unit: sums.cpu() for unit, sums in self._counted.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` described."""
        self._plateau.load(state["plateau"])
        self.losses, self._norms = list(state["losses"]), list(state["norms"])
        self._resting, self._counted = list(state["resting"]), dict(state["counted"])


def _without_accuracy(tags: Mapping[str, T]) -> dict[str, T]:
    """What fine-tuning does not call otherwise."""
    return {tag: value for tag, value in tags.items() if not tag.startswith("val_accuracy")}
