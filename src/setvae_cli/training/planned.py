"""What a run will do, known before it begins: its steps, its epochs, subjects in its batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from setvae_cli.data.datamodule import EpochLoader
from setvae_cli.numbers import count
from setvae_cli.settings.command import TrainSettings
from setvae_cli.training.position import Position
from setvae_cli.training.schedules import planned_steps

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Filled:
    """Subjects in batches that a budget of elements fills, over all planned epochs.

    Attributes:
        mean: Subjects a micro-batch.
        least, most: Of full micro-batches; the last of an epoch holds what is left.
        batches: Micro-batches an epoch, on average.
        single: Share of full micro-batches that hold one subject.
    """

    mean: float
    least: int
    most: int
    batches: float
    single: float

    def describe(self, budget: int) -> str:
        """One line: the budget, subjects a micro-batch, micro-batches an epoch.

        >>> Filled(18.6, 9, 41, 151.0, 0.0).describe(8000)
        'up to 8 000 elements, mean 18.6 subjects (9 to 41), 151 an epoch'
        """
        mean = f"mean {self.mean:.1f} subjects ({self.least} to {self.most})"
        return f"up to {count(budget)} elements, {mean}, {count(self.batches)} an epoch"


@dataclass(frozen=True)
class Planned:
    """Size of a run.

    Attributes:
        steps: Optimizer steps.
        epochs: Epochs that they take; the last may be cut short.
        batch_size: Subjects a micro-batch; with a budget their mean, rounded.
        filled: With a budget of elements, what it comes to.
    """

    steps: int
    epochs: int
    batch_size: int
    filled: Filled | None = None

    def describe(self, budget: int | None) -> str:
        """One line on batches that a budget fills; nothing without one."""
        return "" if budget is None or self.filled is None else self.filled.describe(budget)


def plan_run(
    loader: EpochLoader,
    settings: TrainSettings,
    *,
    done: int = 0,
    position: Position = Position(0, 0),  # noqa: B008 (it is frozen)
) -> Planned:
    """Count the batches of every epoch, which are a pure function of the seed.

    Args:
        loader: Of training.
        settings: Of the command.
        done: Of a resumed run, its optimizer steps so far, which other batches may have made.
        position: Where it goes on.
    """
    most = settings.optimizer.max_steps
    left, epochs = planned_steps(
        _batches_left(loader, settings.optimizer.max_epochs, position),
        settings.loader.gradient_accumulation_steps,
        None if most is None else max(most - done, 0),
    )
    steps, epochs = done + left, position.epoch + epochs
    if settings.loader.max_elements_per_batch is None:
        return Planned(steps, epochs, settings.loader.batch_size)
    filled = _filled(loader, epochs)
    if filled.single > 0.5:
        _log.warning(
            "%.0f %% of batches hold a single subject, which is slow; raise "
            "--max-elements-per-batch, and lower --gradient-accumulation-steps as much",
            100 * filled.single,
        )
    return Planned(steps, epochs, max(1, round(filled.mean)), filled)


def _batches_left(loader: EpochLoader, epochs: int, position: Position) -> Iterator[int]:
    for epoch in range(position.epoch, epochs):
        yield loader.batches(epoch) - (position.batch if epoch == position.epoch else 0)


def _filled(loader: EpochLoader, epochs: int) -> Filled:
    subjects = pieces = batches = full = single = most = 0
    least = np.iinfo(np.int64).max
    for epoch in range(epochs):
        held = loader.subjects(epoch)
        subjects, pieces = subjects + int(held.sum()), pieces + len(held)
        batches += loader.batches(epoch)
        held = held[:-1] if len(held) > 1 else held
        full, single = full + len(held), single + int((held == 1).sum())
        least, most = min(least, int(held.min())), max(most, int(held.max()))
    return Filled(subjects / pieces, least, most, batches / epochs, single / full)
