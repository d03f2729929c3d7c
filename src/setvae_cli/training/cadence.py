"""When a validation falls due, set anew each epoch: under a budget epochs differ in batches."""

from __future__ import annotations

import pytorch_lightning as pl

from setvae_cli.training.schedules import validation_interval


class Cadence(pl.Callback):
    """Gives the trainer its count of micro-batches between validations.

    Args:
        interval: A share of an epoch, or micro-batches when above 1.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """An epoch that is resumed in its middle does not start."""
        self._set(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The trainer has counted the epoch's batches by now."""
        self._set(trainer)

    def _set(self, trainer: pl.Trainer) -> None:
        batches = int(trainer.num_training_batches)
        trainer.val_check_batch = validation_interval(
            self._interval, batches, trainer.accumulate_grad_batches
        )
