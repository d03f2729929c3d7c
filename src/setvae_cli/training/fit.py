"""One run from settings and a store to a measured checkpoint.

    prepare -> RunStarted -> steps and validations -> Stopped -> best checkpoint on test -> Result
             `-- of a resumed run: from its checkpoint

The test split is read once, at the end, with the checkpoint that validation chose.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch

from setvae_cli.data.datamodule import SetDataModule
from setvae_cli.evaluation.measures import Metric
from setvae_cli.evaluation.metrics import measure
from setvae_cli.evaluation.sweep import Swept, sweep
from setvae_cli.files import check_space
from setvae_cli.losses.objective import weights_at
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import Header
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.lock import locked
from setvae_cli.runs.manifest import describe_run, write_manifest
from setvae_cli.runs.model import build_untrained, load_model
from setvae_cli.runs.settings_file import write_settings
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.cache import CACHE
from setvae_cli.store.reader import Store
from setvae_cli.store.shareable import shareable_vocabulary
from setvae_cli.store.vigil import Vigil
from setvae_cli.training.boundary import Boundary
from setvae_cli.training.checkpoint_io import SafeCheckpointIO
from setvae_cli.training.followers import NOWHERE, Attendant, SilentLog
from setvae_cli.training.header import build_header, lasting_settings
from setvae_cli.training.invitation import invitation
from setvae_cli.training.keeper import Keeper, Save
from setvae_cli.training.machine import Machine, resolve
from setvae_cli.training.module import SetVAEModule, metric_tag
from setvae_cli.training.part import Part
from setvae_cli.training.planned import Planned, plan_run
from setvae_cli.training.pulse import Pulse
from setvae_cli.training.records import Result, RunStarted, Stopped
from setvae_cli.training.resumption import Resumption, is_complete
from setvae_cli.training.scalars import ScalarLog
from setvae_cli.training.selection import Selection
from setvae_cli.training.strategy import TeamStrategy
from setvae_cli.training.tasks import check_splits, describe_data, predicted_tasks
from setvae_cli.training.team import Team

CHECKPOINTS = 5  # the last two, the best two, and one that is being written

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
    log: ScalarLog | SilentLog
    vigil: Vigil | None
    sink: Sink
    resumption: Resumption | None
    team: Team


def fit(
    settings: TrainSettings,
    store: Store,
    sink: Sink,
    resumption: Resumption | None = None,
    team: Team | None = None,
) -> Result | None:
    """Train, choose on validation, measure on test.

    Args:
        settings: Of the command; of a resumed run those to go on with.
        store: Prepared data.
        sink: Listener of the records in training/records.py; `Result` is returned, not sent.
        resumption: The checkpoint to go on from; None: a run of its own.
        team: The processes that train together; None: this one alone.

    Returns:
        The closing table; None where the run that was to go on is complete, and on every process
        but the first.

    Raises:
        InputError: The store cannot carry this run, or the run's folder cannot be made.
        SettingsError: A GPU is asked for and there is none.
        NumericalError: A loss or a gradient is not finite.
        RunError: The disk refuses a write, or another process of the run died.
        Terminated: A signal asked to stop; the run was saved.
    """
    began, team = time.monotonic(), team or Team(Part())
    machine = resolve(settings.run, settings.model.dim)
    check_splits(store)
    tasks = predicted_tasks(store, settings.objective.pred_weight)
    vocabulary = shareable_vocabulary(store)
    model = build_untrained(
        settings,
        vocabulary,
        classes=tasks.classes,
        set_size_p99=store.shape.set_size_p99,
        time_scale=store.shape.time_scale,
    ).to(machine.dtype)
    data = SetDataModule(
        store,
        vocabulary,
        settings.loader,
        tasks=tasks.names,
        seed=settings.run.seed,
        hide_rate=settings.model.input_dropout,
        plan_sets=model.needs_set_plan,
        limit_val_batches=settings.run.limit_val_batches,
        rank=team.part.rank,
        world=team.part.world,
    )
    planned = _plan(data, settings, resumption)
    header = build_header(
        settings,
        store,
        vocabulary,
        tasks,
        planned_steps=planned.steps,
        first_planned_steps=resumption.header.warm_up_steps if resumption else None,
    )
    if team.part.follows:
        with _computing(machine):
            _train(
                _Run(
                    settings,
                    machine,
                    header,
                    RunFolder(NOWHERE),
                    data,
                    planned,
                    silent := SilentLog(),
                    None,
                    sink,
                    resumption,
                    team,
                ),
                SetVAEModule(model, settings, header, silent, fused=machine.fused),
            )
        return None
    check_space(settings.run.output_dir, CHECKPOINTS * checkpoint_bytes(model), "checkpoints")
    with ExitStack() as stack:
        if resumption:
            stack.enter_context(locked(resumption.run))
            if is_complete(resumption, planned.steps, settings.optimizer.patience):
                team.tell(None)
                return None
            folder = resumption.take_over(settings)
        else:
            folder = _open_folder(settings, store, machine)
            stack.enter_context(locked(folder))
        sink(
            RunStarted(
                run=str(folder.path),
                data=describe_data(store, tasks),
                model=model.description(),
                machine=machine.describe(settings.loader.num_workers or 0),
                batches=planned.describe(settings.loader.max_elements_per_batch),
            )
        )
        log = stack.enter_context(
            closing(ScalarLog(folder, resumption.logs if resumption else None))
        )
        vigil = stack.enter_context(Vigil(store, settings.run.output_dir / CACHE))
        stack.enter_context(_computing(machine))
        run = _Run(
            settings, machine, header, folder, data, planned, log, vigil, sink, resumption, team
        )
        team.tell(invitation(settings, store, resumption))
        module = SetVAEModule(model, settings, header, log, fused=machine.fused)
        stopped, trainer = _train(run, module)
        sink(stopped)
        return _measure(run, trainer, stopped, began)


def _plan(data: SetDataModule, settings: TrainSettings, resumption: Resumption | None) -> Planned:
    loader = data.train_dataloader()
    if resumption is None:
        return plan_run(loader, settings)
    return plan_run(loader, settings, done=resumption.step, position=resumption.position(data))


def _train(run: _Run, module: SetVAEModule) -> tuple[Stopped, pl.Trainer]:
    settings = run.settings
    if settings.run.compile_model:
        if run.machine.device == "cpu":
            _log.warning(
                "--compile-model takes minutes to start on a CPU, for a tenth more speed at best"
            )
        module.model.compile()
    boundary = Boundary(
        _keeper(run, lambda path: trainer.save_checkpoint(path)),
        Selection(settings.optimizer.patience),
        planned=run.planned.steps,
        val_check_interval=settings.run.val_check_interval,
        save_every_minutes=settings.run.save_every_minutes,
        autocast=run.machine.autocast,
        check=run.vigil.check if run.vigil else lambda: None,
        sink=run.sink,
    )
    pulse = Pulse(run.sink, run.planned.steps, run.planned.epochs)
    resumed, path = None, None
    if run.resumption:
        position = run.resumption.position(run.data)
        run.data.train_dataloader().load_state_dict(position.loader_state())
        resumed, path = run.resumption.payload(position), run.resumption.path
    trainer = _trainer(run, [boundary, pulse], SafeCheckpointIO(resumed))
    trainer.fit(module, datamodule=run.data, ckpt_path=path)
    steps = trainer.global_step
    if boundary.selection.exhausted:
        return Stopped(boundary.selection.reason(), steps < run.planned.steps), trainer
    epochs, most = trainer.current_epoch, settings.optimizer.max_epochs
    done = f"{epochs} epochs done" if epochs >= most else f"{steps} steps done"
    return Stopped(done, early=False), trainer


def _keeper(run: _Run, save: Save) -> Keeper | Attendant:
    if run.team.part.follows:
        return Attendant(save)
    size, keep = run.planned.batch_size, run.settings.run.keep
    return Keeper(run.folder, batch_size=size, keep=keep, save=save)


def _trainer(run: _Run, callbacks: list[pl.Callback], disk: SafeCheckpointIO) -> pl.Trainer:
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
        default_root_dir=run.folder.path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        detect_anomaly=settings.run.detect_anomaly,
    )


def _strategy(run: _Run) -> TeamStrategy:
    return TeamStrategy(run.team, run.machine, predicts=bool(run.header.tasks))


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
    if run.vigil:
        run.vigil.finish()
    steps, epochs = trainer.global_step, trainer.current_epoch
    if chosen and chosen[0].measure == "auc":
        run.log.write(steps, epochs, {"hp_metric": chosen[0].value})
    run.log.write(steps, epochs, _test_scalars(swept, metrics))  # last: it says that all is done
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
    write_settings(folder.settings, lasting_settings(settings))
    manifest = describe_run(
        data_digest=store.digest,
        seed=settings.run.seed,
        device=machine.name,
        precision=machine.precision,
        threads=machine.threads,
    )
    write_manifest(folder.manifest, manifest)
    return folder


def checkpoint_bytes(model: SeqSetVAE) -> int:
    """Bytes of a checkpoint: weights, their average, and two moments of each."""
    return 4 * sum(weight.numel() * weight.element_size() for weight in model.parameters())


@contextmanager
def _computing(machine: Machine) -> Iterator[None]:
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
