"""Tells a listener where training is, a few times a second at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from setvae_cli.data.batch import SetBatch
from setvae_cli.training.module import SetVAEModule
from setvae_cli.training.records import Progress

SECONDS = 0.25


class Pulse(pl.Callback):
    """Sends `Progress`; costs a look at the clock a micro-batch.

    Args:
        sink: Listener of records.
        planned: Optimizer steps of the run.
        epochs: Epochs that they take.
    """

    def __init__(self, sink: Callable[[object], None], planned: int, epochs: int) -> None:
        self._sink, self._planned, self._epochs = sink, planned, epochs
        self._began = self._sent = time.monotonic()
        self._began_step = self._elements = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began = self._sent = time.monotonic()
        self._began_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: SetBatch,
        batch_idx: int,
    ) -> None:
        """Count elements, and speak when it is time; ranks train equally many, more or less."""
        self._elements += batch.plan.elements
        now = time.monotonic()
        if now - self._sent < SECONDS:
            return
        assert isinstance(pl_module, SetVAEModule)
        step = trainer.global_step
        done = step - self._began_step
        left = (now - self._began) / done * (self._planned - step) if done else None
        self._sink(
            Progress(
                epoch=trainer.current_epoch + 1,
                epochs=self._epochs,
                batch=batch_idx + 1,
                batches=int(trainer.num_training_batches),
                step=step,
                steps=self._planned,
                elements_per_s=trainer.world_size * self._elements / (now - self._sent),
                loss=pl_module.recent_loss,
                auc=pl_module.measured.scalars.get("val_auc"),
                seconds_left=left,
            )
        )
        self._sent, self._elements = now, 0
