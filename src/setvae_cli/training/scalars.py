"""Scalars of a run to both of its logs: metrics.jsonl and TensorBoard."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from setvae_cli.runs.event_file import LOG_FORMAT, EventFile
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.metrics_log import MetricsLog, Value

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogState:
    """Where the logs of a run stand.

    Attributes:
        step: Optimizer steps done.
        bytes: Length of metrics.jsonl.
        seconds: Seconds that the run took so far.
    """

    step: int
    bytes: int
    seconds: float


class ScalarLog:
    """Writes the same finite scalars to both logs; `setvae/log_format` stands first in each.

    Args:
        run: Where the logs lie.
        goes_on: Of a resumed run, where its logs stood.
    """

    def __init__(self, run: RunFolder, goes_on: LogState | None = None) -> None:
        state = goes_on or LogState(0, 0, 0.0)
        self._start = time.monotonic() - state.seconds
        self._log = MetricsLog(run.metrics, state.bytes if goes_on else None)
        self._events = EventFile(run.logs, state.step + 1 if goes_on else 0)
        held = run.metrics.stat().st_size
        if held < state.bytes:
            _log.warning(
                "%s has lost %d bytes before step %d",
                run.metrics.name,
                state.bytes - held,
                state.step,
            )
        if not held:
            self._log.write({"step": 0, "epoch": 0, "setvae/log_format": LOG_FORMAT})

    def write(
        self,
        step: int,
        epoch: int,
        scalars: Mapping[str, float],
        plan: Mapping[str, int] | None = None,
    ) -> None:
        """Append scalars; one that is not finite is left out, not replaced.

        Args:
            step: Optimizer steps done.
            epoch: From 1.
            scalars: Tag to value.
            plan: What is planned, for metrics.jsonl only.
        """
        finite = {tag: value for tag, value in scalars.items() if math.isfinite(value)}
        seconds = round(time.monotonic() - self._start, 3)
        self._log.write(
            {"step": step, "epoch": epoch, "seconds": seconds, **(plan or {}), **finite}
        )
        self._events.write(step, {"epoch": float(epoch), **finite})

    def note(self, step: int, epoch: int, record: Mapping[str, Value]) -> None:
        """Append a record to metrics.jsonl only, such as why a metric is absent."""
        self._log.write({"step": step, "epoch": epoch, **record})

    def histogram(self, step: int, tag: str, values: Sequence[float]) -> None:
        """Append how values are spread, for TensorBoard only."""
        self._events.write_histogram(step, tag, values)

    def state(self, step: int) -> LogState:
        """Where the logs stand after a step; what they hold is on the disk when this returns."""
        return LogState(step, self._log.sync(), round(time.monotonic() - self._start, 3))

    def close(self) -> None:
        """Close both logs."""
        self._log.close()
        self._events.close()
