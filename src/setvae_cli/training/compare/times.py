"""How long jobs took, and how long those that are left are likely to take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from setvae_cli.runs.appender import Appender
from setvae_cli.training.compare.jobs import Job, Kind


@dataclass(frozen=True)
class Left:
    """What is left when a job begins, judged by finished ones of the same kinds.

    Attributes:
        job: Of that job, seconds.
        behind: Of all jobs behind it, seconds.
        bound: Whether some were judged by jobs with more labels, so that it is likely to be less.
    """

    job: float
    behind: float
    bound: bool


class Times:
    """Seconds of the finished jobs of a comparison, a line of JSON each.

    Args:
        path: The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[Kind, float], list[float]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                one = json.loads(line)
                self._remember(one["kind"], float(one["share"]), float(one["seconds"]))
            except (ValueError, KeyError, TypeError):
                continue  # the part of a line that a killed process wrote

    def add(self, job: Job, seconds: float) -> None:
        """Remember how long a job took, also for a process that goes on with the comparison."""
        kind, share = job.kind, job.place.share
        self._remember(kind, share, seconds)
        line = {"kind": kind, "share": share, "seconds": round(seconds, 2)}
        file = Appender(self._path)
        try:
            file.append(f"{json.dumps(line)}\n".encode())
        finally:
            file.close()

    def left(self, jobs: Sequence[Job]) -> Left | None:
        """What jobs, the one that begins first, are likely to take; None where that is not known.

        Args:
            jobs: All that are left, at least one.
        """
        found = [self._expected(job) for job in jobs]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return None
        first, *behind = [seconds for seconds, _ in known]
        return Left(first, sum(behind), not all(exact for _, exact in known))

    def _remember(self, kind: Kind, share: float, seconds: float) -> None:
        self._known.setdefault((kind, share), []).append(seconds)

    def _expected(self, job: Job) -> tuple[float, bool] | None:
        """Mean seconds of its kind, with the fewest labels that are not fewer; whether as many."""
        share = job.place.share
        shares = [known for kind, known in self._known if kind == job.kind and known >= share]
        if not shares:
            return None
        nearest = min(shares)
        return float(np.mean(self._known[job.kind, nearest])), nearest == share
