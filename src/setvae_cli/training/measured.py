"""What a validation said, as scalars under the tags of both logs."""

from __future__ import annotations

from dataclasses import dataclass

from setvae_cli.evaluation.measures import Metric
from setvae_cli.evaluation.metrics import mean_of, measure
from setvae_cli.evaluation.sweep import Swept


@dataclass(frozen=True)
class Measured:
    """What a validation said.

    Attributes:
        scalars: `val_loss`, `val_auc`, ...; absent metrics have no entry. With several tasks each
            has its own, beside the mean over those that have one.
        absent: Tag of an absent metric to the reason.
    """

    scalars: dict[str, float]
    absent: dict[str, str]

    @classmethod
    def of(cls, swept: Swept, tasks: tuple[str, ...], classes: tuple[int, ...]) -> Measured:
        """Measure a pass over validation."""
        scalars = {f"val_{name}": value for name, value in swept.scalars.items()}
        metrics = measure(
            swept.logits, swept.labels, swept.label_mask, tasks=tasks, classes=classes, resamples=0
        )
        absent = {}
        for metric in metrics:
            tag = metric_tag("val", metric, tasks)
            if metric.value is None:
                absent[tag] = metric.reason or "not computed"
            else:
                scalars[tag] = metric.value
        for name in dict.fromkeys(metric.name for metric in metrics):
            mean = mean_of(metrics, name)
            if mean is not None:
                scalars[f"val_{_tag(name)}"] = mean
        return cls(scalars, absent)

    def chosen(self, by: str = "auc") -> tuple[str, float]:
        """What checkpoints are chosen by: a measure, or the loss where it is absent."""
        if f"val_{by}" in self.scalars:
            return by, self.scalars[f"val_{by}"]
        return "loss", self.scalars["val_loss"]


def metric_tag(split: str, metric: Metric, tasks: tuple[str, ...]) -> str:
    """`val_auc`, and with several tasks `val_auc_<task>`."""
    name = f"{split}_{_tag(metric.name)}"
    return name if len(tasks) == 1 else f"{name}_{metric.task}"


def _tag(name: str) -> str:
    return {"auroc": "auc"}.get(name, name)
