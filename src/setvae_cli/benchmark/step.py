"""One optimizer step as a run takes it, without the trainer around it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch import nn

from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.objective import LossTerms, loss_terms, total, weights_at
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.command import TrainSettings
from setvae_cli.training.averaging import averaged_copy, update_average
from setvae_cli.training.machine import Machine
from setvae_cli.training.optimizer import build_optimizer

PLANNED_STEPS = 1_000
STEP = 500  # past every warm-up, so that no weight is 0


class TrainingStep:
    """Forward, loss, backward, clipping, AdamW and the average of the weights, on one batch.

    Args:
        model: What is trained, on its device.
        settings: Objective, optimizer and seed.
        classes: Classes of each task.
        sets_per_subject: Mean sets a subject in training.
        machine: Its precision is that of the forward pass; None: that of the weights.
    """

    def __init__(
        self,
        model: SeqSetVAE,
        settings: TrainSettings,
        *,
        classes: tuple[int, ...],
        sets_per_subject: float,
        machine: Machine | None = None,
    ) -> None:
        self.model, self.settings, self.classes = model.train(), settings, classes
        self._sets_per_subject, self._machine = sets_per_subject, machine
        self._weights = list(model.parameters())
        self._average = (
            [] if not settings.optimizer.weight_averaging else [*averaged_copy(model).parameters()]
        )
        self._optimizer = build_optimizer(model, settings.optimizer, fused=True)

    def __call__(self, batch: SetBatch) -> None:
        """Take one step."""
        settings = self.settings
        weights = weights_at(STEP, PLANNED_STEPS, settings.objective)
        with self._autocast():
            loss = total(self.terms(batch), weights, batch, self._sets_per_subject)
        loss.backward()
        if settings.optimizer.gradient_clip_val:
            nn.utils.clip_grad_norm_(self._weights, settings.optimizer.gradient_clip_val)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._average:
            decay = settings.optimizer.weight_averaging
            update_average(self._average, self._weights, step=STEP, decay=decay)

    def terms(self, batch: SetBatch) -> LossTerms:
        """The forward pass and the raw terms of its loss."""
        seed = self.settings.run.seed
        return loss_terms(
            self.model,
            self.model(batch, noise_seed=seed),
            batch,
            self.settings.objective,
            classes=self.classes,
            noise_seed=seed,
        )

    def _autocast(self) -> AbstractContextManager[object]:
        return nullcontext() if self._machine is None else self._machine.autocast()
