"""Which job of a comparison is being done, and when all of them will be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from setvae_cli.cli.output import Output

if TYPE_CHECKING:
    from setvae_cli.training.compare.jobs import Job
    from setvae_cli.training.compare.run import JobStarted
    from setvae_cli.training.compare.times import Left
    from setvae_cli.training.records import Progress

AROUND = len(" ━━━ 100 %  ")  # between head and tail


class ComparisonView:
    """Shows which job is being done, how far its training is, and how long the rest takes.

    Args:
        output: Where it is shown.
        clock: Seconds that only grow.
    """

    def __init__(self, output: Output, clock: Callable[[], float] = time.monotonic) -> None:
        self._output, self._clock = output, clock
        self._started: JobStarted | None = None
        self._begun = 0.0

    def __call__(self, record: object) -> None:
        """Show one record; those that only matter to others are passed over."""
        from setvae_cli.training import records
        from setvae_cli.training.compare.run import JobStarted

        match record:
            case JobStarted():
                self._started, self._begun = record, self._clock()
                self._show(record, 0.0, _told(record.left, 0.0), stage=True)
            case records.Progress() if self._started is not None:
                left = _told(self._started.left, self._clock() - self._begun)
                self._show(self._started, _inside(record), left or _epoch(record))
            case records.Stopping():
                self._output.end_progress()
                self._output.say("finishing this step ... (again to stop at once)")

    def _show(self, started: JobStarted, inside: float, tail: str, *, stage: bool = False) -> None:
        columns = self._output.columns
        head = _head(started, None if columns is None else columns - AROUND - len(tail))
        share = (started.number - 1 + inside) / started.jobs
        self._output.progress(head, share, tail, stage=stage)


def _head(started: JobStarted, width: int | None) -> str:
    """Number, kind and place of a job; without its place where a width has no room for it."""
    from setvae_cli.training.compare.jobs import TOLD

    number = f"job {started.number} of {started.jobs}"
    kind = TOLD[started.job.kind]
    whole = ", ".join([f"{number}: {kind}", *_place(started.job)])
    return whole if width is None or len(whole) <= width else f"{number}: {kind}"


def _place(job: Job) -> list[str]:
    place, parts = job.place, []
    if place.fold is not None:
        again = f" of repeat {place.repeat}" if place.repeat else ""
        parts.append(f"fold {place.fold}{again}")  # from 0, as --fold and names of folders
    if place.share < 1:
        parts.append(f"{100 * place.share:g} % of labels")
    if job.seed:
        parts.append(f"seed {job.seed}")
    return parts


def _inside(progress: Progress) -> float:
    return progress.step / progress.steps if progress.steps else 0.0


def _epoch(progress: Progress) -> str:
    return f"epoch {progress.epoch}/{progress.epochs}"


def _told(left: Left | None, since: float) -> str:
    """How long all jobs take from now on; empty where that is not known.

    Args:
        left: What was expected when the job began.
        since: Seconds since then.
    """
    if left is None or (since > left.job and not left.behind):
        return ""
    seconds = max(left.job - since, 0.0) + left.behind
    word = "up to" if left.bound else "about"
    if seconds < 60:
        return "under 1 min left"
    if seconds < 100 * 60:
        return f"{word} {seconds / 60:.0f} min left"
    return f"{word} {seconds / 3600:.1f} h left"
