"""TensorBoard event files, written without the host's name in them.

    uint64 length | uint32 masked crc32c of it | Event message | uint32 masked crc32c of it

TensorBoard's own writer puts the host into the file's name and the scalars behind a queue in a
thread; here a record is on its way to disk when `write` returns.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

LOG_FORMAT = 1


class EventFile:
    """Appends scalars to an own event file; `setvae/log_format` is the first of them.

    Args:
        folder: An existing folder; each run or resumption opens its own file in it.
    """

    def __init__(self, folder: Path) -> None:
        name = f"events.out.tfevents.{time.time_ns() // 1_000_000_000}.{os.getpid()}.setvae"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.fdopen(os.open(_free(folder / name), flags, 0o600), "wb")
        self._records = RecordWriter(self._file)
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self.write(0, {"setvae/log_format": float(LOG_FORMAT)})

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append scalars of one optimizer step."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._add(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
        self._file.flush()


def _free(path: Path) -> Path:
    """`path`, or the first numbered sibling that does not exist."""
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
