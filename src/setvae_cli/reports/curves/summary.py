"""The figures of a run's curves that its summary names: ends, averages, trends, best values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from setvae_cli.reports.curves.series import Curves, Series

LAST_STEPS = 100
KL = ("train_kl_step", "legacy/train_kl_step", "train_kl_epoch", "legacy/train_kl_epoch")
VAL_KL = ("val_kl", "legacy/val_kl")
_STILL = 5.0  # percent


@dataclass(frozen=True)
class Best:
    """The best and the last value of a metric that should be large.

    Attributes:
        best, best_step: Its largest value and the first step that has it.
        final, final_step: Its last value.
    """

    best: float
    best_step: int
    final: float
    final_step: int


@dataclass(frozen=True)
class Kl:
    """How the KL ends, nats a set.

    Attributes:
        final, step: Its last value.
        average: Mean over the last 100 optimizer steps.
        before, after: Means over the two halves of the last quarter of the run.
    """

    final: float
    step: int
    average: float
    before: float
    after: float

    @property
    def change(self) -> float | None:
        """From `before` to `after` in percent; None where that cannot be said."""
        return 100 * (self.after - self.before) / self.before if self.before > 0 else None

    @property
    def trend(self) -> str:
        """In one word; up to 5 % either way is level."""
        change = self.change
        if change is None:
            return "not known"
        return "level" if abs(change) <= _STILL else "rising" if change > 0 else "falling"


@dataclass(frozen=True)
class Summary:
    """What a run's curves come to; None where the log has no such curve.

    Attributes:
        kl: Of training, and where that was not logged of validation.
        auc, auprc, accuracy: Of validation.
        recall: Of validation at 1: slices whose nearest other is of their own subject.
        val_loss: The lowest and the last validation loss, as `Best` of its negative.
    """

    kl: Kl | None
    auc: Best | None
    auprc: Best | None
    accuracy: Best | None
    recall: Best | None
    val_loss: Best | None


def summarise(run: Curves) -> Summary:
    """Read the figures off the curves."""
    kl = run.get(*KL, *VAL_KL)
    loss = run.get("val_loss")
    return Summary(
        kl=_kl(kl) if kl else None,
        auc=best(run.get("val_auc")),
        auprc=best(run.get("val_auprc")),
        accuracy=best(run.get("val_accuracy")),
        recall=best(run.get("val_recall_1")),
        val_loss=best(loss, lowest=True),
    )


def best(series: Series | None, *, lowest: bool = False) -> Best | None:
    """Best and last value of a curve; None without one."""
    if series is None:
        return None
    place = int(series.values.argmin() if lowest else series.values.argmax())
    ends = float(series.values[-1]), int(series.steps[-1])
    return Best(float(series.values[place]), int(series.steps[place]), *ends)


def average_of_last(series: Series, steps: int = LAST_STEPS) -> float:
    """Mean over so many optimizer steps up to the last point."""
    return float(series.values[series.steps > series.steps[-1] - steps].mean())


def _kl(series: Series) -> Kl:
    end = series.steps[-1]
    span = end - series.steps[0]
    quarter = series.values[series.steps >= end - span / 4]
    before, after = np.array_split(quarter, 2) if len(quarter) > 1 else (quarter, quarter)
    average = average_of_last(series)
    return Kl(
        float(series.values[-1]), int(end), average, float(before.mean()), float(after.mean())
    )
