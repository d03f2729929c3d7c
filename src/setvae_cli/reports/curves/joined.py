"""Scalars of all event files of a run as one course: each resumption opened a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from setvae_cli.reports.curves.series import Series, ordered
from setvae_cli.reports.curves.tags import BOOKKEEPING, canonical
from setvae_cli.reports.event_scalars import Scalars
from setvae_cli.reports.events import EventLog


@dataclass(frozen=True)
class Joined:
    """One course of a run.

    Attributes:
        series: Tag to curve, by canonical names.
        replaced: Values that a later file wrote again, or went another way from.
        restarted: Whether a later file begins no later than an earlier one.
        began: Time of the first event, seconds since 1970.
        tags: As the files call them.
    """

    series: dict[str, Series]
    replaced: int
    restarted: bool
    began: float
    tags: tuple[str, ...]


def join(logs: Sequence[EventLog]) -> Joined:
    """Join files; steps at or after the first one of a later file are dropped from earlier ones.

    A file without a curve in common with an earlier one, as a test after training writes it,
    replaces nothing of it.
    """
    logs = sorted(logs, key=_began)
    kept, replaced, restarted = [], 0, False
    for place, log in enumerate(logs):
        cut = min((_first_step(b) for b in logs[place + 1 :] if _follows(b, log)), default=None)
        if cut is not None:
            good = log.scalars.steps < cut
            replaced += int((~good).sum())
            restarted |= cut <= _first_step(log)
            log = replace(log, scalars=_chosen(log.scalars, good))
        kept.append(log.scalars)
    began = min(map(_began, logs))
    tags = tuple(dict.fromkeys(tag for log in logs for tag in log.scalars.tags))
    return Joined(_by_tag(kept, began), replaced, restarted, began, tags)


def _began(log: EventLog) -> float:
    first = [log.scalars.walls.min()] if len(log.scalars.walls) else []
    return float(log.began or (first[0] if first else 0.0))


def _first_step(log: EventLog) -> int:
    """Where a file begins; what is written of the whole run stands at step 0 in every file."""
    if log.start_step is not None:
        return log.start_step
    curve = ~np.isin(log.scalars.tag, [i for i, t in enumerate(log.scalars.tags) if _is_book(t)])
    steps = log.scalars.steps[curve]
    return int(steps.min()) if len(steps) else np.iinfo(np.int64).max


def _follows(later: EventLog, earlier: EventLog) -> bool:
    shared = set(later.scalars.tags) & set(earlier.scalars.tags)
    return later.start_step is not None or any(not _is_book(tag) for tag in shared)


def _is_book(tag: str) -> bool:
    return tag in BOOKKEEPING


def _chosen(scalars: Scalars, good: np.ndarray) -> Scalars:
    parts = (scalars.tag, scalars.steps, scalars.walls, scalars.values)
    return Scalars(scalars.tags, *(part[good] for part in parts))


def _by_tag(parts: Sequence[Scalars], began: float) -> dict[str, Series]:
    """Curves by canonical name; where two tags have one, the name itself is preferred."""
    gathered: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for part in parts:
        order = np.argsort(part.tag, kind="stable")
        bounds = np.searchsorted(part.tag[order], np.arange(1, len(part.tags)))
        for tag, rows in zip(part.tags, np.split(order, bounds), strict=False):
            columns = (part.steps[rows], part.values[rows], part.walls[rows] - began)
            gathered.setdefault(tag, []).append(columns)
    whole = {
        tag: tuple(np.concatenate(column) for column in zip(*columns, strict=True))
        for tag, columns in gathered.items()
    }
    clock = _curve(whole["epoch"], None) if "epoch" in whole else None
    names = {tag: canonical(tag) for tag in whole}
    return {
        tag if names[tag] != tag and names[tag] in whole else names[tag]: _curve(columns, clock)
        for tag, columns in whole.items()
    }


def _curve(columns: tuple[np.ndarray, ...], clock: Series | None) -> Series:
    steps, values, seconds = columns
    return ordered(steps, values, seconds, _epochs(steps, clock))


def _epochs(steps: np.ndarray, clock: Series | None) -> np.ndarray:
    """The epoch that was logged last at each step."""
    if clock is None or not len(clock):
        return np.full(len(steps), np.nan)
    place = np.searchsorted(clock.steps, steps, side="right") - 1
    return np.where(place >= 0, clock.values[np.maximum(place, 0)], np.nan)
