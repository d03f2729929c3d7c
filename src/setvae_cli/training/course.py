"""The steps of a run, from its beginning or from a checkpoint, to where they end."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from setvae_cli.monitor.verdict import Verdict
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.training.boundary import Boundary
from setvae_cli.training.checkpoint_io import SafeCheckpointIO
from setvae_cli.training.diagnosis import guessing_loss
from setvae_cli.training.followers import Attendant, SilentLog
from setvae_cli.training.keeper import Keeper, Save
from setvae_cli.training.machine import Machine
from setvae_cli.training.module import SetVAEModule
from setvae_cli.training.prepared import Prepared
from setvae_cli.training.pulse import Pulse
from setvae_cli.training.records import Stopped
from setvae_cli.training.scalars import ScalarLog
from setvae_cli.training.selection import Selection
from setvae_cli.training.strategy import TeamStrategy

Sink = Callable[[object], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Course:
    """What was trained; the same however often it was stopped on the way.

    Attributes:
        epochs: Epochs begun.
        steps: Optimizer steps done.
        stopped: Why it ended.
        verdicts: What the watch over its posteriors said last; empty without one.
    """

    epochs: int
    steps: int
    stopped: Stopped
    verdicts: tuple[Verdict, ...]


def run_course(
    run: Prepared,
    place: Path,
    log: ScalarLog | SilentLog,
    *,
    keeper: Callable[[Save], Keeper | Attendant],
    check: Callable[[], None],
    sink: Sink,
) -> Course:
    """Train until the planned end, patience, or a signal.

    Args:
        run: What it computes with.
        place: The run's folder.
        log: Where scalars go.
        keeper: Makes what names checkpoints, of what writes them.
        check: Raises when the data are no longer what they were.
        sink: Listener of records.

    Returns:
        How far it went, and why it ended there.
    """
    settings = run.settings
    module = SetVAEModule(
        run.model, settings, run.header, log, epochs=run.planned.epochs, fused=run.machine.fused
    )
    if settings.run.compile_model:
        _compile(module, run.machine)
    boundary = Boundary(
        keeper(lambda path: trainer.save_checkpoint(path)),
        Selection(settings.optimizer.patience),
        planned=run.planned.steps,
        val_check_interval=settings.run.val_check_interval,
        save_every_minutes=settings.run.save_every_minutes,
        autocast=run.machine.autocast,
        check=check,
        sink=sink,
        chosen_by=settings.chosen_by,
    )
    pulse = Pulse(sink, run.planned.steps, run.planned.epochs)
    resumed, path = None, None
    if run.resumption:
        run.data.train_dataloader().load_state_dict(run.position.loader_state())
        resumed, path = run.resumption.payload(run.position), run.resumption.path
    trainer = _trainer(run, [boundary, pulse], SafeCheckpointIO(resumed), place)
    trainer.fit(module, datamodule=run.data, ckpt_path=path)
    _diagnose(run, module)
    epochs, steps = module.position.epochs_begun, trainer.global_step
    stopped = _stopped(run, module, boundary.selection, epochs, steps)
    return Course(epochs, steps, stopped, module.watch.verdicts if module.watch else ())


def _stopped(
    run: Prepared, module: SetVAEModule, selection: Selection, epochs: int, steps: int
) -> Stopped:
    if module.watch is not None and module.watch.stops:
        return Stopped("the posterior collapsed (--on-collapse stop)", steps < run.planned.steps)
    if selection.exhausted:
        return Stopped(selection.reason(), steps < run.planned.steps)
    most = run.settings.optimizer.max_epochs
    done = f"{epochs} epochs done" if epochs >= most else f"{steps} steps done"
    return Stopped(done, early=False)


def _diagnose(run: Prepared, module: SetVAEModule) -> None:
    """Say why a fine-tuning loss did not fall, if it did not."""
    if module.tuning is None or run.team.part.follows:
        return
    labels, header = run.data.train.labels, run.header
    counts = [
        np.bincount(each[each >= 0], minlength=size).tolist()
        for each, size in zip(labels.T, header.classes, strict=True)
    ]
    smoothing = run.settings.objective.label_smoothing
    found = module.tuning.diagnosis(
        dict(zip(header.tasks, counts, strict=True)),
        guessing_loss(counts, header.class_weights, smoothing),
    )
    if found:
        _log.warning("%s", found)


def _compile(module: SetVAEModule, machine: Machine) -> None:
    if machine.device == "cpu":
        _log.warning(
            "--compile-model takes minutes to start on a CPU, for a tenth more speed at best"
        )
    module.model.compile()


def _trainer(
    run: Prepared, callbacks: list[pl.Callback], disk: SafeCheckpointIO, place: Path
) -> pl.Trainer:
    settings = run.settings
    return pl.Trainer(
        accelerator=run.machine.device,
        devices=run.team.part.local_world,
        num_nodes=run.team.part.nodes,
        strategy="auto" if run.team.part.alone else _strategy(run),
        precision=run.machine.precision,
        max_epochs=-1,  # the boundary ends the run, also one that is resumed behind its last step
        limit_val_batches=0,  # the boundary validates
        accumulate_grad_batches=settings.loader.gradient_accumulation_steps,
        # A budget cuts each epoch into a number of batches of its own, which is asked for anew.
        reload_dataloaders_every_n_epochs=0 if run.planned.filled is None else 1,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[disk, run.team.environment],
        default_root_dir=place,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        detect_anomaly=settings.run.detect_anomaly,
    )


def _strategy(run: Prepared) -> TeamStrategy:
    tuned = isinstance(run.settings, FinetuneSettings)
    all_read = bool(run.tasks.names) and not tuned
    return TeamStrategy(run.team, run.machine, all_read=all_read, statistics=bool(run.foreign))


@contextmanager
def computing(machine: Machine) -> Iterator[None]:
    """Within it torch computes as the machine says, and the trainer is quiet."""
    with _quiet_trainer(), torch.random.fork_rng(), machine.computing():
        yield


@contextmanager
def _quiet_trainer() -> Iterator[None]:
    """Lightning's remarks on its own use are not for the person who trains."""
    names = ("pytorch_lightning", "lightning_fabric", "lightning.pytorch")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
