"""TensorBoard event files, written without the host's name in them.

    uint64 length | uint32 masked crc32c of it | Event message | uint32 masked crc32c of it

TensorBoard's own writer puts the host into the file's name and the scalars behind a queue in a
thread; here a record is on its way to disk when `write` returns, whole or not at all.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from setvae_cli.runs.appender import Appender

LOG_FORMAT = 1
HISTOGRAM_BINS = 30


class EventFile:
    """Appends scalars to an own event file; `setvae/log_format` is the first of them.

    Args:
        folder: An existing folder; each run or resumption opens its own file in it.
        first_step: Of a resumption, the first step that it writes: readers drop what earlier files
            hold from there on.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        name = f"events.out.tfevents.{time.time_ns() // 1_000_000_000}.{os.getpid()}.setvae"
        self._file = Appender(_free(folder / name), fresh=True)
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if first_step:
            start = SessionLog(status=SessionLog.START)
            self._add(Event(wall_time=time.time(), step=first_step, session_log=start))
        self.write(first_step, {"setvae/log_format": float(LOG_FORMAT)})

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append scalars of one optimizer step.

        Raises:
            RunError: The disk is full, or refuses the write; nothing of the record stays.
        """
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._add(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def write_histogram(self, step: int, tag: str, values: Sequence[float]) -> None:
        """Append how values of one optimizer step are spread, in at most 30 bins.

        Raises:
            RunError: The disk is full, or refuses the write; nothing of the record stays.
        """
        numbers = np.asarray(values, np.float64)
        counts, edges = np.histogram(numbers, bins=min(HISTOGRAM_BINS, max(len(numbers), 1)))
        spread = HistogramProto(
            min=numbers.min(),
            max=numbers.max(),
            num=len(numbers),
            sum=numbers.sum(),
            sum_squares=np.square(numbers).sum(),
            bucket_limit=edges[1:].tolist(),
            bucket=counts.tolist(),
        )
        value = Summary.Value(tag=tag, histo=spread)
        self._add(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, event: Event) -> None:
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self._file.append(record.getvalue())


def _free(path: Path) -> Path:
    """`path`, or the first numbered sibling that does not exist."""
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
