"""metrics.json: all that the tables show, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from setvae_cli.evaluation.findings import Findings, TaskFindings
from setvae_cli.evaluation.subgroups import ByAttribute, Figure, Subgroup
from setvae_cli.reports.evaluation.answers import answers, next_step


def as_plain(findings: Findings) -> dict[str, Any]:
    """The findings as plain values; counts of small groups as the texts that tables show."""
    return {
        **asdict(findings.source),
        "split": findings.split,
        "subjects": findings.subjects,
        "without_prediction": findings.without_prediction,
        "unmatched_events": findings.unmatched,
        "resamples": findings.resamples,
        "attributes": list(findings.attributes),
        "notes": list(findings.notes),
        "tasks": [_task(task, findings) for task in findings.tasks],
        "next": next_step(findings).words,
    }


def _task(task: TaskFindings, findings: Findings) -> dict[str, Any]:
    threshold = task.threshold
    return {
        "task": task.task,
        "subjects": task.subjects,
        "class_counts": list(task.counts),
        "class_names": list(task.names) or None,
        "prevalence": task.prevalence,
        "mean_probability": list(task.expected),
        "threshold": None if threshold is None else threshold.probability,
        "threshold_chosen": None if threshold is None else threshold.chosen,
        "metrics": [
            {name: value for name, value in asdict(score).items() if name != "task"}
            for score in task.scores
        ],
        "ece_by_chance": task.ece_by_chance,
        "answers": [asdict(answer) for answer in answers(task, findings)],
        "each_class": [
            {
                "class": one.name,
                "subjects": one.subjects,
                "mean_probability": one.expected,
                "auroc": _figure(one.auroc),
            }
            for one in task.each
        ],
        "groups": [_table(table) for table in task.by],
        "reliability": [
            {
                "class": curve.name or "1",
                "predicted": curve.reliability.predicted.tolist(),
                "observed": curve.reliability.observed.tolist(),
                "low": curve.reliability.low.tolist(),
                "high": curve.reliability.high.tolist(),
                "subjects": curve.reliability.subjects.tolist(),
            }
            for curve in task.curves
        ],
    }


def _table(table: ByAttribute) -> dict[str, Any]:
    return {
        "attribute": table.name,
        "cut": table.cut or None,
        "groups": [_group(one, table) for one in table.groups],
    }


def _group(one: Subgroup, table: ByAttribute) -> dict[str, Any]:
    return {
        "group": one.name,
        "subjects": one.shown.subjects,
        "positives": one.shown.positives if table.binary else None,
        "auroc": _figure(one.auroc),
        "auprc": _figure(one.auprc),
        "observed_to_expected": _figure(one.observed_to_expected),
        "auroc_less_that_of_others": _figure(one.gap),
        "worse": one.worse,
        "off": one.off,
    }


def _figure(one: Figure | None) -> dict[str, float | None] | None:
    return None if one is None else asdict(one)
