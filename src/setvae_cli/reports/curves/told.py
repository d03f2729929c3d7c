"""What the monitor said of a run, and what was done about it: event records of metrics.jsonl.

A verdict on `val`, from validation, is the authority; one on `train` is of the window over training
batches. Event files of TensorBoard hold none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from setvae_cli.numbers import count

WARMING = "warming"


@dataclass(frozen=True)
class Verdict:
    """A verdict at the step at which it changed, or at the first check.

    Attributes:
        step: Optimizer steps done.
        split: `val` or `train`.
        level: From 1.
        state: As the monitor names it.
        rule: The rule that fired, in words.
        figures: Of the check, one clause.
        since: First step of the checks in a row.
        mend: What to try; empty where nothing has to be.
        notes: Beside the state; empty without any.
    """

    step: int
    split: str
    level: int
    state: str
    rule: str
    figures: str
    since: int
    mend: str
    notes: str

    @property
    def short(self) -> str:
        """In as few words as a figure has room for."""
        window = "" if self.split == "val" else " in training"
        return f"level {self.level} {self.state}{window}"

    @property
    def words(self) -> str:
        """State, rule and figures, one clause."""
        since = f"since step {count(self.since)}"
        told = f"level {self.level} {self.state} {since} ({self.rule}): {self.figures}"
        return f"{told}; {self.notes}" if self.notes else told


@dataclass(frozen=True)
class Action:
    """What was done about a collapse.

    Attributes:
        step: Optimizer steps done.
        kind: As `--on-collapse` names it.
        words: One clause.
    """

    step: int
    kind: str
    words: str

    @property
    def short(self) -> str:
        """In as few words as a figure has room for."""
        return f"--on-collapse {self.kind}"


Event = Verdict | Action


def events_of(records: Iterable[Mapping[str, Any]]) -> tuple[Event, ...]:
    """The events among the records of a log; one that lacks a part is passed over."""
    found = (_event(record) for record in records if "event" in record)
    return tuple(event for event in found if event is not None)


def standing(events: Iterable[Event]) -> tuple[Verdict, ...]:
    """The last verdict on validation of every level."""
    found = {one.level: one for one in events if isinstance(one, Verdict) and one.split == "val"}
    return tuple(found[level] for level in sorted(found))


def shown(events: Iterable[Event]) -> tuple[Event, ...]:
    """What figures mark: actions, and verdicts that changed, of the authority where it spoke."""
    events = tuple(events)
    spoke = any(one.state != WARMING for one in standing(events))
    return tuple(
        one
        for one in events
        if isinstance(one, Action)
        or (one.state != WARMING and one.split == ("val" if spoke else "train"))
    )


def _event(record: Mapping[str, Any]) -> Event | None:
    kind = {"verdict": Verdict, "action": Action}.get(str(record["event"]))
    if kind is None:
        return None
    held = {**record, "mend": record.get("try", "")}
    parts = [(held.get(part.name), part.type) for part in fields(kind)]
    if any(type(value).__name__ != name for value, name in parts):
        return None
    event: Event = kind(*(value for value, _ in parts))
    return event
