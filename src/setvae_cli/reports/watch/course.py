"""What the records of a run come to: curves, the newest figures, verdicts, warnings, pace."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from setvae_cli.reports.watch.notices import Notices
from setvae_cli.reports.watch.series import Series

LOSS, VAL_LOSS = "train_loss_step", "val_loss"
TEST = "test_"
_DRAWN = re.compile(
    r"(train_(loss|recon|kl|beta)_step|val_(loss|recon|kl|auc|auprc)|"
    r"(train|val)_(kl|active_units|information|decoder_gap)_level_\d+)"
)
_PLACE = frozenset({"step", "epoch", "seconds", "event", "setvae/log_format"})
_LARGEST = 1e15  # no figure of a run; a log may be written by others
_PACED = 400  # records: what time left is judged by; long enough to hold validations
_RECENT = 20  # records: what speed is judged by


@dataclass(frozen=True)
class Pace:
    """How fast it goes.

    Attributes:
        steps_a_second: Over the last records, what lies between them included.
        elements_a_second: The same; None where elements are not logged.
        seconds_left: Until the planned end; None where that is not known.
    """

    steps_a_second: float
    elements_a_second: float | None
    seconds_left: float | None


class Course:
    """Takes records in their order.

    Attributes:
        series: Curves by tag.
        latest: The newest value of every tag.
        latest_step: The step of it.
        notices: Verdicts, and what else is told beside figures.
        step, epoch: Of the newest record.
        seconds: Seconds that the run took until then.
        planned_steps, planned_epochs: As logged; None where they were not.
        test: Figures of the test split without their prefix; empty before the end.
        records: Records with scalars.
        longest_gap: Seconds between two records, at most; None before the second.
    """

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.latest: dict[str, float] = {}
        self.latest_step: dict[str, int] = {}
        self.notices = Notices()
        self.step = self.epoch = self.records = 0
        self.seconds: float | None = None
        self.planned_steps: int | None = None
        self.planned_epochs: int | None = None
        self.test: dict[str, float] = {}
        self.longest_gap: float | None = None
        self._first_seconds: float | None = None
        self._paced: deque[tuple[int, float, float | None]] = deque(maxlen=_PACED)
        self._known: set[str] = set()

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels of latents that something is known about."""
        named = [re.fullmatch(r"(?:val|train|test)_\w+_level_(\d+)", tag) for tag in self.latest]
        found = {int(match[1]) for match in named if match}
        return tuple(sorted(found | {level for _, level in self.notices.verdicts}))

    @property
    def typical_gap(self) -> float | None:
        """Mean seconds between two records; None before the second."""
        if self.seconds is None or self._first_seconds is None or self.records < 2:
            return None
        return (self.seconds - self._first_seconds) / (self.records - 1)

    @property
    def pace(self) -> Pace | None:
        """How fast it goes; None before the second record of training."""
        recent = list(self._paced)[-_RECENT:]
        steps_a_second = _rate(recent)
        if steps_a_second is None:
            return None
        elements = [count for _, _, count in recent[1:] if count is not None]
        overall = _rate(list(self._paced)) or steps_a_second
        left = None if self.planned_steps is None else max(0, self.planned_steps - self.step)
        return Pace(
            steps_a_second,
            steps_a_second * sum(elements) / len(elements) if elements else None,
            None if left is None else left / overall,
        )

    def take(self, record: Mapping[str, Any]) -> None:
        """Take in the next record; one that is not of ours changes nothing."""
        step, epoch = record.get("step"), record.get("epoch", 0)
        if not _is_count(step) or not _is_count(epoch):
            return
        match record.get("event"):
            case "verdict":
                self.notices.take_verdict(record, step)
            case "action":
                self.notices.take_action(record, step)
            case _:
                self._take_scalars(record, step)
        self.step, self.epoch = max(step, self.step), max(epoch, self.epoch)

    def _take_scalars(self, record: Mapping[str, Any], step: int) -> None:
        found = {
            tag: value
            for tag, value in record.items()
            if (type(value) is float or type(value) is int)
            and -_LARGEST < value < _LARGEST
            and tag not in _PLACE
        }
        if not found:
            self.notices.take_absent(record, step)
            return
        self.latest.update(found)
        self.latest_step.update(dict.fromkeys(found, step))
        for tag in found.keys() - self._known:
            self._known.add(tag)
            if _DRAWN.fullmatch(tag):
                self.series[tag] = Series()
        for tag in found.keys() & self.series.keys():
            self.series[tag].add(step, found[tag])
        self._take_time(record.get("seconds"))
        if LOSS in found:
            self._take_step(record, step)
        if any(tag.startswith(TEST) for tag in found):
            self.test = _without_prefix(found, TEST)
        if "skipped_steps" in found:
            self.notices.take_skipped(found["skipped_steps"], step)

    def _take_time(self, seconds: object) -> None:
        self.records += 1
        if not _is_time(seconds):
            return
        if self.seconds is None:
            self._first_seconds = seconds
        else:
            self.longest_gap = max(self.longest_gap or 0.0, seconds - self.seconds)
        self.seconds = float(seconds)

    def _take_step(self, record: Mapping[str, Any], step: int) -> None:
        self.test = {}  # training goes on
        for name in ("planned_steps", "planned_epochs"):
            if _is_count(record.get(name)):
                setattr(self, name, record[name])
        elements, seconds = record.get("train_elements_step"), record.get("seconds")
        if _is_time(seconds):
            self._paced.append((step, seconds, elements if _is_time(elements) else None))


def _rate(paced: list[tuple[int, float, float | None]]) -> float | None:
    """Steps a second; None where neither steps nor time went on."""
    if len(paced) < 2:
        return None
    (first, began, _), (last, ended, _) = paced[0], paced[-1]
    return (last - first) / (ended - began) if last > first and ended > began else None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < _LARGEST


def _is_time(value: object) -> TypeGuard[float]:
    return type(value) in (int, float) and 0 <= value < _LARGEST  # type: ignore[operator]


def _without_prefix(figures: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {
        tag.removeprefix(prefix): value for tag, value in figures.items() if tag.startswith(prefix)
    }
