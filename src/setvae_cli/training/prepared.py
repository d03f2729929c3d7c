"""What a run computes with, known before it touches a disk, and the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.datamodule import SetDataModule, validated_rows
from setvae_cli.data.portion import Portion
from setvae_cli.encoders.classifier import Model
from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.encoders.weights import Match
from setvae_cli.runs.checkpoint import Header
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.beginning import Begun, begin
from setvae_cli.training.class_weights import class_weights
from setvae_cli.training.freezing import warn_of_rest
from setvae_cli.training.header import build_header
from setvae_cli.training.machine import Machine, resolve
from setvae_cli.training.planned import Planned, plan_run
from setvae_cli.training.position import Position
from setvae_cli.training.resumption import Resumption
from setvae_cli.training.tasks import Tasks, check_judged, cuts_of, slicing_of
from setvae_cli.training.team import Team


@dataclass(frozen=True)
class Prepared:
    """A run that can begin.

    Attributes:
        settings: Of the command; of a resumed run those to go on with. In fine-tuning with the
            architecture of the checkpoint.
        machine: Where it computes.
        tasks: What it predicts.
        portion: Its rows of the store, and their statistics.
        model: As it begins: untrained, or with a trained body.
        data: The three splits.
        planned: Its size.
        header: What its checkpoints say about themselves.
        resumption: The checkpoint to go on from; None: it begins.
        position: Where it goes on.
        team: The processes that train together.
        loaded: How the weights of a checkpoint fitted; None: none were loaded.
        encoder: The encoder of another package that is fine-tuned, as it was given.
        foreign: Its name.
        elsewhere: Whether its weights were trained on other data.
    """

    settings: TrainSettings
    machine: Machine
    tasks: Tasks
    portion: Portion
    model: Model
    data: SetDataModule
    planned: Planned
    header: Header
    resumption: Resumption | None
    position: Position
    team: Team
    loaded: Match | None = None
    encoder: SequenceEncoder | None = None
    foreign: str | None = None
    elsewhere: bool = False

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of a checkpoint: weights, their average, and two moments of each."""
        weights = self.model.parameters()
        return 4 * sum(weight.numel() * weight.element_size() for weight in weights)


def prepare_run(
    settings: TrainSettings,
    store: Store,
    resumption: Resumption | None,
    team: Team,
    encoder: SequenceEncoder | None = None,
) -> Prepared:
    """Build model, loaders and plan.

    Raises:
        InputError: The store, or the checkpoint to start from, cannot carry this run, or nothing
            in validation tells checkpoints apart.
        SettingsError: A GPU is asked for and there is none, or settings do not fit the labels.
        RunError: The checkpoint to start from lacks weights.
    """
    begun = begin(settings, store, resumption.header if resumption else None, encoder)
    settings, portion, tasks = begun.settings, begun.portion, begun.tasks
    check_judged(settings.objective, store, tasks, _validated(settings, portion))
    machine = resolve(settings.run, settings.model.dim)
    cuts = cuts_of(settings.objective, store, portion.shape.time_scale)
    model = begun.model.to(machine.dtype)
    data = SetDataModule(
        store,
        portion.vocabulary,
        settings.loader,
        tasks=tasks.names,
        seed=settings.run.seed,
        hide_rate=settings.model.input_dropout,
        plan_sets=model.needs_set_plan,
        limit_val_batches=settings.run.limit_val_batches,
        splits=portion.splits,
        rank=team.part.rank,
        world=team.part.world,
        cuts=cuts,
        slicing=slicing_of(settings.objective, settings.loader),
    )
    position = resumption.position(data) if resumption else Position(0, 0)
    done = resumption.step if resumption else 0
    planned = plan_run(data.train_dataloader(), settings, done=done, position=position)
    if isinstance(settings, FinetuneSettings):
        warn_of_rest(settings, steps=planned.steps, epochs=planned.epochs)
    header = build_header(
        settings,
        store,
        portion,
        tasks,
        planned_steps=planned.steps,
        first_planned_steps=resumption.header.warm_up_steps if resumption else None,
    )
    return Prepared(
        settings, machine, tasks, portion, model, data, planned,
        _tuned(header, begun, data), resumption, position, team,
        begun.loaded, begun.encoder, begun.foreign, begun.elsewhere,
    )  # fmt: skip


def _validated(settings: TrainSettings, portion: Portion) -> NDArray[np.int64]:
    run = settings.run
    return validated_rows(portion.splits["validation"], run.limit_val_batches, run.seed)


def _tuned(header: Header, begun: Begun, data: SetDataModule) -> Header:
    """The header of a run, with what fine-tuning adds to it."""
    if not isinstance(begun.settings, FinetuneSettings):
        return header
    tasks = begun.tasks
    weights = class_weights(
        begun.settings.tuning, data.train.labels, tasks=tasks.names, classes=tasks.classes
    )
    return header.model_copy(update={"class_weights": weights, "foreign": begun.foreign})
