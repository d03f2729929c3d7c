"""Scalars of a run to both of its logs: metrics.jsonl and TensorBoard."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from setvae_cli.runs.event_file import LOG_FORMAT, EventFile
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.metrics_log import MetricsLog


class ScalarLog:
    """Writes the same finite scalars to both logs; `setvae/log_format` stands first in each.

    Args:
        run: Where the logs lie.
    """

    def __init__(self, run: RunFolder) -> None:
        self._start = time.monotonic()
        self._log = MetricsLog(run.metrics)
        self._events = EventFile(run.logs)
        self._log.write({"step": 0, "epoch": 0, "setvae/log_format": LOG_FORMAT})

    def write(self, step: int, epoch: int, scalars: Mapping[str, float]) -> None:
        """Append scalars; one that is not finite is left out, not replaced.

        Args:
            step: Optimizer steps done.
            epoch: From 1.
            scalars: Tag to value.
        """
        finite = {tag: value for tag, value in scalars.items() if math.isfinite(value)}
        seconds = round(time.monotonic() - self._start, 3)
        self._log.write({"step": step, "epoch": epoch, "seconds": seconds, **finite})
        self._events.write(step, {"epoch": float(epoch), **finite})

    def note(self, step: int, epoch: int, tag: str, text: str) -> None:
        """Append a text to metrics.jsonl, such as why a metric is absent."""
        self._log.write({"step": step, "epoch": epoch, tag: text})

    def close(self) -> None:
        """Close both logs."""
        self._log.close()
        self._events.close()
