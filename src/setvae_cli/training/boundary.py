"""Between two optimizer steps: validate, choose, save, stop. Nothing is saved anywhere else.

    last micro-batch of a step -> end of an epoch? -> validation due? -> saving due? -> signal?

A checkpoint therefore never holds half a step. A validation that a signal cuts short is owed: the
next run of the same folder begins with it, from its first batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

import pytorch_lightning as pl
import torch

from setvae_cli.data.batch import SetBatch
from setvae_cli.data.datamodule import SetDataModule
from setvae_cli.errors import SetvaeError, Terminated, UsageError
from setvae_cli.training import records
from setvae_cli.training.followers import Attendant
from setvae_cli.training.keeper import Keeper
from setvae_cli.training.module import SetVAEModule
from setvae_cli.training.position import Position
from setvae_cli.training.ranks import agree
from setvae_cli.training.schedules import validation_interval
from setvae_cli.training.selection import Selection
from setvae_cli.training.stopping import Stopping

_log = logging.getLogger(__name__)


class Boundary(pl.Callback):
    """Decides what happens between two steps.

    Args:
        keeper: Names checkpoints.
        selection: Which validation was best.
        planned: Optimizer steps of the run.
        val_check_interval: Validations: a share of an epoch, or micro-batches when above 1.
        save_every_minutes: Between checkpoints beside those of validations; 0: none.
        autocast: Makes the context of a forward pass.
        check: Raises when the data are no longer what they were.
        sink: Listener of records.
        chosen_by: The measure that chooses: auc, acc or loss.
    """

    def __init__(
        self,
        keeper: Keeper | Attendant,
        selection: Selection,
        *,
        planned: int,
        val_check_interval: float,
        save_every_minutes: float,
        autocast: Callable[[], AbstractContextManager[object]],
        check: Callable[[], None],
        sink: Callable[[object], None],
        chosen_by: str = "auc",
    ) -> None:
        self.selection, self._chosen_by = selection, chosen_by
        self._keeper, self._planned, self._interval = keeper, planned, val_check_interval
        self._every, self._saved = 60 * save_every_minutes, time.monotonic()
        self._autocast, self._check, self._sink = autocast, check, sink
        self._stopping = Stopping()
        self._told = self._moved = False

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs to go on choosing."""
        return self.selection.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on choosing; patience stays what it is set to now."""
        patience = self.selection.patience
        self.selection = Selection.from_state({**state_dict, "patience": patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals; make up for a validation that was cut short."""
        module = cast(SetVAEModule, pl_module)
        self._stopping.install()
        module.continue_optimizer()
        position, step = module.position, trainer.global_step
        if step and module.validated_step != step:
            batches = _batches_of(trainer, position)
            done = batches if position.batch == 0 else position.batch
            if self._is_due(trainer, done, batches, step):
                self._validate(trainer, module, position.epochs_begun)
        if module.watch is not None and module.watch.kept_at(step):
            self._keeper.name_collapsed(step)  # the run may have been killed before it was named
        self._end_if_done(trainer, module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: SetBatch,
        batch_idx: int,
    ) -> None:
        """At the end of a step do what is due."""
        module, batches = cast(SetVAEModule, pl_module), int(trainer.num_training_batches)
        done, step = batch_idx + 1, trainer.global_step
        self._tell(self._stopping.received or 0)
        if done % trainer.accumulate_grad_batches and done < batches:
            return
        module.position, self._moved = Position.after(trainer.current_epoch, done, batches), True
        if done == batches:
            module.log_epoch()
        due = self._is_due(trainer, done, batches, step)
        self._tell_of(module.look(validates=due))
        module.updating = False
        asked, timely = agree(self._stopping.received or 0, int(self._is_time()))
        self._stop(trainer, asked)
        if due:
            self._check()
            self._validate(trainer, module, module.position.epochs_begun)
        elif timely:
            self._check()
            self._keeper.save_last()
            self._saved = time.monotonic()
        if due or timely:
            self._stop_if_asked(trainer)
        self._end_if_done(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Name the final checkpoint, and give signals back."""
        self._stopping.restore()
        self._check()
        self._keeper.save_final(trainer.global_step)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep the last whole step, if this process made one, whatever happened after it."""
        module = cast(SetVAEModule, pl_module)
        self._stopping.restore()
        if not self._moved or module.updating or isinstance(exception, Terminated | UsageError):
            return
        if not trainer.is_global_zero:
            return
        try:
            path = self._keeper.save_stopped("error", trainer.global_step)
        except (SetvaeError, OSError, RuntimeError, MemoryError) as error:
            _log.warning("no error checkpoint was saved: %s", type(error).__name__)
        else:
            self._sink(records.Saved(path.name, why="exception"))

    def _is_due(self, trainer: pl.Trainer, done: int, batches: int, step: int) -> bool:
        """Whether a validation belongs behind so many micro-batches of an epoch."""
        if step >= self._planned:
            return True
        every = validation_interval(self._interval, batches, trainer.accumulate_grad_batches)
        return done % every == 0

    def _validate(self, trainer: pl.Trainer, module: SetVAEModule, epoch: int) -> None:
        """Validate, choose, save, tell."""
        data = cast(SetDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        collected = module.validation_begins(len(data.validation))
        with torch.no_grad(), self._autocast():
            whole = module.settings.objective.sees_whole
            for batch in data.evaluated("validation", whole=whole):
                collected.add(module.transfer_batch_to_device(batch, module.device, 0))
                self._stop_if_asked(trainer)
        module.updating = True
        found = module.validation_ends(collected, epoch)
        measured, step = module.measured, trainer.global_step
        measure, value = measured.chosen(self._chosen_by)
        best = self.selection.observe(measure, value)
        self._tell_of(found)  # what it writes has to be there before the checkpoint behind it
        self._keeper.save_validated(epoch=epoch, step=step, measure=measure, value=value)
        module.updating, self._saved = False, time.monotonic()
        self._sink(records.Validated(epoch, step, measured.scalars, measured.absent, best))
        if found is not None and found.action is not None and found.action.kind == "checkpoint":
            self._sink(records.Saved(self._keeper.name_collapsed(step), why="collapse"))

    def _tell_of(self, found: records.Checked | None) -> None:
        if found is not None:
            self._sink(found)

    def _end_if_done(self, trainer: pl.Trainer, module: SetVAEModule) -> None:
        collapsed = module.watch is not None and module.watch.stops
        if trainer.global_step >= self._planned or self.selection.exhausted or collapsed:
            trainer.should_stop = True

    def _tell(self, number: int) -> None:
        if number and not self._told:
            self._told = True
            self._sink(records.Stopping(number))

    def _is_time(self) -> bool:
        return self._every > 0 and time.monotonic() - self._saved >= self._every

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        """Save and end, if a signal asked any rank for it."""
        self._stop(trainer, *agree(self._stopping.received or 0))

    def _stop(self, trainer: pl.Trainer, number: int) -> None:
        """Save and end, if there is a signal; all ranks name the same.

        Raises:
            Terminated: There is.
        """
        if not number:
            return
        self._tell(number)
        path = self._keeper.save_stopped("interrupted", trainer.global_step)
        self._sink(records.Saved(path.name, why="signal"))
        raise Terminated(number, told=True)


def _batches_of(trainer: pl.Trainer, position: Position) -> int:
    """Micro-batches of the epoch whose last step is done."""
    data = cast(SetDataModule, trainer.datamodule)  # type: ignore[attr-defined]
    return data.train_dataloader().batches(position.epoch - (position.batch == 0))
