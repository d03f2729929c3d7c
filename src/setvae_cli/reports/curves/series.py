"""A run's curves in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from setvae_cli.reports.curves.told import Event

Numbers = NDArray[np.float64]
LEAST_EPOCHS = 5  # a curve of fewer means hides how training began


@dataclass(frozen=True)
class Series:
    """One curve: a value a step, steps rising.

    Attributes:
        steps: Optimizer steps done, `[points]`.
        values: As logged; not finite where training was not.
        seconds: Since the run's first record; NaN where the log does not say.
        epochs: As the log counts them; NaN where it does not say.
    """

    steps: NDArray[np.int64]
    values: Numbers
    seconds: Numbers
    epochs: Numbers

    def where(self, chosen: NDArray[np.bool_]) -> Series:
        """The chosen points."""
        values, seconds, epochs = (
            part[chosen] for part in (self.values, self.seconds, self.epochs)
        )
        return Series(self.steps[chosen], values, seconds, epochs)

    def finite(self) -> Series:
        """The points that are numbers."""
        return self.where(np.isfinite(self.values))

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class Curves:
    """What a run logged.

    Attributes:
        name: What it is called in figures and reports; no path.
        series: Canonical tag to curve.
        legacy: Whether the original wrote it.
        begun: The day it began, `2026-11-21`; empty where that is not known.
        floor: What free bits leave free, nats a set: a legacy KL was never logged under it.
        notes: What whoever reads the curves has to know about the log.
        events: What the monitor said, and what was done, in the order of the log.
    """

    name: str
    series: Mapping[str, Series]
    legacy: bool = False
    begun: str = ""
    floor: float | None = None
    notes: tuple[str, ...] = field(default=())
    events: tuple[Event, ...] = field(default=())

    def get(self, *tags: str) -> Series | None:
        """The finite points of the first of these curves that has any; None where none has."""
        found = (self.series[tag].finite() for tag in tags if tag in self.series)
        return next((one for one in found if len(one)), None)

    def training(self, word: str) -> Series | None:
        """A term of training: means of epochs where there are enough, else each logged step."""
        epochs = self.get(f"train_{word}_epoch", f"legacy/train_{word}_epoch")
        steps = self.get(f"train_{word}_step", f"legacy/train_{word}_step")
        if steps is not None and (epochs is None or len(epochs) < LEAST_EPOCHS):
            return steps
        return epochs

    @property
    def steps(self) -> int:
        """Optimizer steps that the log reaches to."""
        return max((int(one.steps[-1]) for one in self.series.values() if len(one)), default=0)

    @property
    def epochs(self) -> int:
        """Epochs that the log reaches to; 0 where it does not say."""
        ends = [one.epochs[-1] for one in self.series.values() if len(one)]
        return int(np.nanmax([*ends, 0.0]))


def ordered(steps: NDArray[np.int64], values: Numbers, seconds: Numbers, epochs: Numbers) -> Series:
    """A curve of points in the order of writing; of several for a step the last counts."""
    order = np.argsort(steps, kind="stable")
    last = np.append(np.diff(steps[order]) != 0, True) if len(order) else np.zeros(0, bool)
    keep = order[last]
    return Series(steps[keep], values[keep], seconds[keep], epochs[keep])
