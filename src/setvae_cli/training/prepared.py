"""What a run computes with, known before it touches a disk, and the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass

from setvae_cli.data.datamodule import SetDataModule
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import Header
from setvae_cli.runs.model import build_untrained
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.store.shareable import shareable_vocabulary
from setvae_cli.training.header import build_header
from setvae_cli.training.machine import Machine, resolve
from setvae_cli.training.planned import Planned, plan_run
from setvae_cli.training.position import Position
from setvae_cli.training.resumption import Resumption
from setvae_cli.training.tasks import Tasks, check_splits, predicted_tasks
from setvae_cli.training.team import Team


@dataclass(frozen=True)
class Prepared:
    """A run that can begin.

    Attributes:
        settings: Of the command; of a resumed run those to go on with.
        machine: Where it computes.
        tasks: What it predicts.
        model: Untrained.
        data: The three splits.
        planned: Its size.
        header: What its checkpoints say about themselves.
        resumption: The checkpoint to go on from; None: it begins.
        position: Where it goes on.
        team: The processes that train together.
    """

    settings: TrainSettings
    machine: Machine
    tasks: Tasks
    model: SeqSetVAE
    data: SetDataModule
    planned: Planned
    header: Header
    resumption: Resumption | None
    position: Position
    team: Team

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of a checkpoint: weights, their average, and two moments of each."""
        weights = self.model.parameters()
        return 4 * sum(weight.numel() * weight.element_size() for weight in weights)


def prepare_run(
    settings: TrainSettings, store: Store, resumption: Resumption | None, team: Team
) -> Prepared:
    """Build model, loaders and plan.

    Raises:
        InputError: The store cannot carry this run.
        SettingsError: A GPU is asked for and there is none.
    """
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
    position = resumption.position(data) if resumption else Position(0, 0)
    done = resumption.step if resumption else 0
    planned = plan_run(data.train_dataloader(), settings, done=done, position=position)
    header = build_header(
        settings,
        store,
        vocabulary,
        tasks,
        planned_steps=planned.steps,
        first_planned_steps=resumption.header.warm_up_steps if resumption else None,
    )
    return Prepared(
        settings, machine, tasks, model, data, planned, header, resumption, position, team
    )
