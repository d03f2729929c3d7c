"""Keeps checkpoints (the last two, the best two, the final one) after each validation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from setvae_cli.files import atomic_path
from setvae_cli.runs.folder import RunFolder
from setvae_cli.training.module import SetVAEModule
from setvae_cli.training.records import Validated
from setvae_cli.training.selection import Selection

BEST = 2


class Keeper(pl.Callback):
    """Saves after each validation, and stops by patience.

    Args:
        run: Where checkpoints go.
        batch_size: Subjects a micro-batch, for names; with a budget their mean, rounded.
        patience: Validations without a better one before stopping; 0: never.
        sink: Listener of records.
    """

    def __init__(
        self, run: RunFolder, *, batch_size: int, patience: int, sink: Callable[[object], None]
    ) -> None:
        self._run, self._batch_size, self._sink = run, batch_size, sink
        self.selection = Selection(patience)
        self.validated_step = -1

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs to go on choosing."""
        return self.selection.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on choosing; patience stays what it is set to now."""
        patience = self.selection.patience
        self.selection = Selection.from_state({**state_dict, "patience": patience})

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare, save, tell, and perhaps stop."""
        assert isinstance(pl_module, SetVAEModule)
        self._keep(trainer, pl_module, trainer.current_epoch + 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Where training ends between validations, validate; then write the final checkpoint."""
        assert isinstance(pl_module, SetVAEModule)
        if self.validated_step != trainer.global_step:
            epoch = max(trainer.current_epoch, 1)
            _validate(trainer, pl_module, epoch)
            self._keep(trainer, pl_module, epoch)
        path = self._run.final_path(step=trainer.global_step, batch_size=self._batch_size)
        trainer.save_checkpoint(path)

    def _keep(self, trainer: pl.Trainer, module: SetVAEModule, epoch: int) -> None:
        measured, step = module.measured, trainer.global_step
        measure, value = measured.choice
        best = self.selection.observe(measure, value)
        self.validated_step = step
        self._save_last(trainer)
        self._keep_best(epoch, step, measure, value)
        self._sink(Validated(epoch, step, measured.scalars, measured.absent, best))
        if self.selection.exhausted:
            trainer.should_stop = True

    def _save_last(self, trainer: pl.Trainer) -> None:
        """Write the newest checkpoint; the one before it stays, and there is always a newest."""
        if self._run.last.exists():
            _copy(self._run.last, self._run.previous)
        trainer.save_checkpoint(self._run.last)

    def _keep_best(self, epoch: int, step: int, measure: str, value: float) -> None:
        path = self._run.best_path(
            epoch=epoch, step=step, measure=measure, value=value, batch_size=self._batch_size
        )
        _copy(self._run.last, path)
        for worse in self._run.best()[BEST:]:
            worse.path.unlink()


def _copy(source: Path, target: Path) -> None:
    """Put a finished file under a second name, atomically; files are never changed in place."""
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _validate(trainer: pl.Trainer, module: SetVAEModule, epoch: int) -> None:
    """A validation outside Lightning's loop, by the same hooks."""
    datamodule = getattr(trainer, "datamodule", None)
    assert isinstance(datamodule, pl.LightningDataModule)
    module.on_validation_epoch_start()
    with torch.no_grad(), trainer.precision_plugin.val_step_context():
        for number, batch in enumerate(datamodule.val_dataloader()):
            moved = module.transfer_batch_to_device(batch, module.device, 0)
            module.validation_step(moved, number)
    module.finish_validation(epoch)
