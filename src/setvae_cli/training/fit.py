"""One run from settings and a store to a measured checkpoint.

    prepare -> RunStarted -> steps and validations -> Stopped -> best checkpoint on test -> Result

The test split is read once, at the end, with the checkpoint that validation chose.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
import yaml
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from setvae_cli.data.datamodule import SetDataModule
from setvae_cli.evaluation.measures import Metric
from setvae_cli.evaluation.metrics import measure
from setvae_cli.evaluation.sweep import Swept, sweep
from setvae_cli.files import atomic_write
from setvae_cli.losses.objective import weights_at
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import Header
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.manifest import describe_run
from setvae_cli.runs.model import build_untrained, load_model
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.cadence import Cadence
from setvae_cli.training.checkpoint_io import SafeCheckpointIO
from setvae_cli.training.header import build_header
from setvae_cli.training.keeper import Keeper
from setvae_cli.training.machine import Machine, resolve
from setvae_cli.training.module import SetVAEModule, metric_tag
from setvae_cli.training.planned import Planned, plan_run
from setvae_cli.training.pulse import Pulse
from setvae_cli.training.records import Result, RunStarted, Stopped
from setvae_cli.training.scalars import ScalarLog
from setvae_cli.training.tasks import check_splits, describe_data, predicted_tasks

Sink = Callable[[object], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """What the parts of one run share."""

    settings: TrainSettings
    machine: Machine
    header: Header
    folder: RunFolder
    data: SetDataModule
    planned: Planned
    log: ScalarLog
    sink: Sink


def fit(settings: TrainSettings, store: Store, sink: Sink) -> Result:
    """Train, choose on validation, measure on test.

    Args:
        settings: Of the command.
        store: Prepared data.
        sink: Listener of the records in training/records.py; `Result` is returned, not sent.

    Returns:
        The closing table.

    Raises:
        InputError: The store cannot carry this run, or the run's folder cannot be made.
        SettingsError: A GPU is asked for and there is none.
        NumericalError: A loss or a gradient is not finite.
        RunError: The disk refuses a write.
    """
    began = time.monotonic()
    machine = resolve(settings.run, settings.model.dim)
    check_splits(store)
    tasks = predicted_tasks(store, settings.objective.pred_weight)
    model = build_untrained(
        settings,
        store.vocabulary,
        classes=tasks.classes,
        set_size_p99=store.shape.set_size_p99,
        time_scale=store.shape.time_scale,
    ).to(machine.dtype)
    data = SetDataModule(
        store,
        store.vocabulary,
        settings.loader,
        tasks=tasks.names,
        seed=settings.run.seed,
        hide_rate=settings.model.input_dropout,
        plan_sets=model.needs_set_plan,
        limit_val_batches=settings.run.limit_val_batches,
    )
    planned = plan_run(data.train_dataloader(), settings)
    header = build_header(settings, store, tasks, planned_steps=planned.steps)
    folder = _open_folder(settings, store, machine)
    sink(
        RunStarted(
            run=str(folder.path),
            data=describe_data(store, tasks),
            model=model.description(),
            machine=machine.describe(settings.loader.num_workers or 0),
            batches=planned.describe(settings.loader.max_elements_per_batch),
        )
    )
    with (
        closing(ScalarLog(folder)) as log,
        _quiet_trainer(),
        torch.random.fork_rng(),
        machine.computing(),
    ):
        run = _Run(settings, machine, header, folder, data, planned, log, sink)
        module = SetVAEModule(model, settings, header, log, fused=machine.fused)
        stopped, trainer = _train(run, module)
        sink(stopped)
        return _measure(run, trainer, stopped, began)


def _train(run: _Run, module: SetVAEModule) -> tuple[Stopped, pl.Trainer]:
    settings = run.settings
    keeper = Keeper(
        run.folder,
        batch_size=run.planned.batch_size,
        patience=settings.optimizer.patience,
        sink=run.sink,
    )
    if settings.run.compile_model:
        if run.machine.device == "cpu":
            _log.warning(
                "--compile-model takes minutes to start on a CPU, for a tenth more speed at best"
            )
        module.model.compile()
    pulse = Pulse(run.sink, run.planned.steps, run.planned.epochs)
    trainer = _trainer(run, [Cadence(settings.run.val_check_interval), keeper, pulse])
    trainer.fit(module, datamodule=run.data)
    steps = trainer.global_step
    if keeper.selection.exhausted:
        return Stopped(keeper.selection.reason(), steps < run.header.planned_steps), trainer
    epochs, most = trainer.current_epoch, settings.optimizer.max_epochs
    done = f"{epochs} epochs done" if epochs >= most else f"{steps} steps done"
    return Stopped(done, early=False), trainer


def _trainer(run: _Run, callbacks: list[pl.Callback]) -> pl.Trainer:
    settings = run.settings
    return pl.Trainer(
        accelerator=run.machine.device,
        devices=1,
        precision=run.machine.precision,
        max_epochs=settings.optimizer.max_epochs,
        max_steps=run.header.planned_steps,
        accumulate_grad_batches=settings.loader.gradient_accumulation_steps,
        # A budget cuts each epoch into a number of batches of its own, which is asked for anew.
        reload_dataloaders_every_n_epochs=0 if run.planned.filled is None else 1,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[SafeCheckpointIO(), LightningEnvironment()],
        default_root_dir=run.folder.path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        detect_anomaly=settings.run.detect_anomaly,
    )


def _measure(run: _Run, trainer: pl.Trainer, stopped: Stopped, began: float) -> Result:
    """Measure the chosen checkpoint on the test split."""
    chosen = run.folder.best()
    best = chosen[0].path if chosen else run.folder.best_or_last()
    swept = _sweep_test(run, load_model(best).model.to(run.machine.dtype))
    metrics = measure(
        swept.logits,
        swept.labels,
        swept.label_mask,
        tasks=run.header.tasks,
        classes=run.header.classes,
        seed=run.settings.run.seed,
    )
    steps, epochs = trainer.global_step, trainer.current_epoch
    run.log.write(steps, epochs, _test_scalars(swept, metrics))
    if chosen and chosen[0].measure == "auc":
        run.log.write(steps, epochs, {"hp_metric": chosen[0].value})
    return Result(
        run=str(run.folder.path),
        best=str(best),
        chosen_by=f"val_{chosen[0].measure}" if chosen else "val_loss",
        split="test",
        metrics=metrics,
        posterior=swept.posterior,
        epochs=epochs,
        steps=steps,
        seconds=time.monotonic() - began,
        stopped=stopped.reason,
    )


def _sweep_test(run: _Run, model: SeqSetVAE) -> Swept:
    weights = weights_at(
        run.header.planned_steps,
        run.header.planned_steps,
        run.settings.objective,
        evaluating=True,
    )
    return sweep(
        model.to(run.machine.device),
        run.data.test_dataloader(),
        run.settings.objective,
        run.header.classes,
        weights=weights,
        sets_per_subject=run.header.sets_per_subject,
        autocast=run.machine.autocast(),
    )


def _test_scalars(swept: Swept, metrics: tuple[Metric, ...]) -> dict[str, float]:
    found = {f"test_{name}": value for name, value in swept.scalars.items()}
    tasks = tuple(dict.fromkeys(metric.task for metric in metrics))
    for metric in metrics:
        if metric.value is not None:
            found[metric_tag("test", metric, tasks)] = metric.value
    for level in swept.posterior:
        found[f"test_kl_level_{level.level}"] = level.kl_nats
        found[f"test_active_units_level_{level.level}"] = float(level.active)
    return found


def _open_folder(settings: TrainSettings, store: Store, machine: Machine) -> RunFolder:
    """Make the run's folder; its settings and circumstances are written before it computes."""
    folder = RunFolder.create(settings.run.output_dir, settings.run.name, settings.run.log_dir)
    atomic_write(folder.settings, yaml.safe_dump(settings.to_flat(), sort_keys=False))
    manifest = describe_run(
        data_digest=store.digest,
        seed=settings.run.seed,
        device=machine.name,
        precision=machine.precision,
        threads=machine.threads,
    )
    atomic_write(folder.manifest, manifest.model_dump_json(indent=2) + "\n")
    return folder


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
