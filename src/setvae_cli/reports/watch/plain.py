"""A look at a run as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from setvae_cli.reports.watch.run import Look


def plain(look: Look) -> dict[str, Any]:
    """Everything that the picture is drawn from, curves aside."""
    course, pace = look.course, look.course.pace
    return {
        "run": look.name,
        "state": look.state.word,
        "told": look.state.told,
        "last_record_seconds_ago": look.state.age,
        "step": course.step,
        "planned_steps": course.planned_steps,
        "epoch": course.epoch,
        "planned_epochs": course.planned_epochs,
        "seconds": course.seconds,
        "seconds_left": look.seconds_left,
        "steps_per_s": None if pace is None else pace.steps_a_second,
        "elements_per_s": None if pace is None else pace.elements_a_second,
        "latest": dict(course.latest),
        "verdicts": [_words(record) for record in course.notices.verdicts.values()],
        "warnings": [asdict(one) for one in course.notices.all],
        "test": dict(course.test),
        "notes": list(look.notes),
    }


def _words(record: Mapping[str, Any]) -> dict[str, int | str]:
    return {name: value for name, value in record.items() if isinstance(value, int | str)}
