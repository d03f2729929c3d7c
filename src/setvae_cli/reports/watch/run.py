"""A run that is looked at again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from setvae_cli import numbers
from setvae_cli.errors import InputError
from setvae_cli.reports.watch.course import Course
from setvae_cli.reports.watch.state import Evidence, State, out_of_reach, tell
from setvae_cli.reports.watch.tail import Appended, Tail
from setvae_cli.runs.folder import Mark, RunFolder

_STOPS: tuple[Mark, ...] = ("interrupted", "error")
_SLACK = 5.0  # seconds by which a log may be written after the checkpoint of the same moment


@dataclass(frozen=True)
class Look:
    """A run at one moment.

    Attributes:
        name: What it is called on the screen.
        course: What was logged.
        state: Whether it goes on.
        seconds_left: Until the planned end; None where that is not known, or it does not run.
        notes: What is wrong with the log or with a clock.
        reading: Part of the log that was read, 0 to 1, while a long one is; else None.
    """

    name: str
    course: Course
    state: State
    seconds_left: float | None
    notes: tuple[str, ...]
    reading: float | None


class WatchedRun:
    """Reads what a run appends, and looks at the names of its checkpoints.

    Args:
        folder: The run's folder.
        name: What it is called on the screen.
        wall: Seconds since 1970.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._name, self._wall, self._clock = RunFolder(folder), name, wall, clock
        self._tail, self._course = Tail(self._run.metrics), Course()
        self._read: Appended | None = None
        self._whole = False
        self._grown: float | None = None

    def look(self) -> Look:
        """Read on, and tell how it stands.

        Raises:
            InputError: There is no log, or it is damaged from its start.
        """
        trouble = self._read_on()
        read = self._read
        assert read is not None
        state = tell(self._evidence(read))
        if trouble and not state.ended:
            state = out_of_reach(state)
        return Look(
            name=self._name,
            course=self._course,
            state=state,
            seconds_left=self._left(state),
            notes=tuple(filter(None, (trouble, _damage(read, self._run.metrics), state.clock))),
            reading=read.good_bytes / read.bytes if read.more and read.bytes else None,
        )

    def look_whole(self) -> Look:
        """The same, all of a long log at once."""
        while True:
            found = self.look()
            if found.reading is None:
                return found

    def _read_on(self) -> str:
        """Take in new records; what hinders is told where something was read before.

        Raises:
            InputError: Nothing was read before.
        """
        try:
            read = self._tail.read()
        except InputError as error:
            if self._read is None:
                raise
            return f"{self._run.metrics.name} cannot be read now: {error.what}"
        if read.anew:
            self._course = Course()
        for record in read.records:
            self._course.take(record)
        if read.records and self._whole:
            self._grown = self._clock()
        self._whole = self._whole or not read.more
        self._read = read
        if read.damaged_bytes and not read.good_bytes:
            raise InputError(
                "is damaged from its start, or no log of setvae",
                where=str(self._run.metrics),
                mend="put it back from a copy, or name another run",
            )
        return ""

    def _evidence(self, read: Appended) -> Evidence:
        course = self._course
        return Evidence(
            step=course.step,
            logged=course.records > 0,
            tested=bool(course.test),
            collapsed=course.notices.stopped_at,
            stopped=self._stopped(read.changed),
            final_step=self._final_step(),
            changed=self._wall() - read.changed,
            grown=None if self._grown is None else self._clock() - self._grown,
            typical_gap=course.typical_gap,
            longest_gap=course.longest_gap,
        )

    def _stopped(self, changed: float) -> tuple[str, int] | None:
        """The newest stop, where it is not older than the log."""
        found = []
        for kind in _STOPS:
            for path in self._run.marked(kind)[:1]:
                with suppress(OSError):  # it may go away meanwhile
                    found.append((path.stat().st_mtime, kind, _step_of(path)))
        if not found:
            return None
        when, kind, step = max(found)
        return (kind, step) if when >= changed - _SLACK else None

    def _final_step(self) -> int | None:
        return max(map(_step_of, self._run.checkpoints.glob("final_step=*")), default=None)

    def _left(self, state: State) -> float | None:
        pace = self._course.pace
        if state.word != "running" or pace is None or pace.seconds_left is None:
            return None
        return max(0.0, pace.seconds_left - (state.age or 0.0))


def _step_of(path: Path) -> int:
    digits = path.name.partition("step=")[2].partition("_")[0]
    return int(digits) if digits.isdecimal() else 0


def _damage(read: Appended, path: Path) -> str:
    if not read.damaged_bytes:
        return ""
    return f"{numbers.size(read.damaged_bytes)} at the end of {path.name} cannot be read"
