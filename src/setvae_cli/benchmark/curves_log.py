"""Logs of a resumed run of any length, as the original and as setvae write them.

    original    two event files, one scalar a record, KL times beta
    setvae      metrics.jsonl, and two event files, all scalars of a step in one record

The second file begins before the first one ends: what it writes again takes the place of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from setvae_cli.runs.event_file import EventFile
from setvae_cli.runs.metrics_log import MetricsLog

Layout = Literal["original", "setvae"]
LAYOUTS: tuple[Layout, ...] = ("original", "setvae")
TERMS = ("loss", "recon", "kl", "pred", "beta", "recon_weight", "pred_weight", "grad_norm")
OTHERS = tuple(f"other/{number}" for number in range(12))
TAGS = (*(f"train_{term}_step" for term in TERMS), *OTHERS)
_FIRST_ENDS, _SECOND_BEGINS = 0.6, 0.5  # of the run
_BEGAN = 1_755_000_000.0  # seconds since 1970


def write_log(layout: Layout, scalars: int, folder: Path) -> None:
    """Write the logs of one run.

    Args:
        layout: Whose.
        scalars: How many its event files hold, about: a tenth of them twice.
        folder: Made here.
    """
    folder.mkdir(mode=0o700)
    steps = max(10, round(scalars / len(TAGS) / (1 + _FIRST_ENDS - _SECOND_BEGINS)))
    first = range(1, round(_FIRST_ENDS * steps) + 1)
    second = range(round(_SECOND_BEGINS * steps) + 1, steps + 1)
    write: Callable[[Path, range], None] = _original if layout == "original" else _ours
    for part in (first, second):
        write(folder, part)
    if layout == "setvae":
        _metrics(folder / "metrics.jsonl", steps)


def _values(step: int) -> Iterator[float]:
    loss = 5 + 500 / (100 + step) + 0.2 * math.sin(step)
    return ((loss + number) / (1 + number) for number in range(len(TAGS)))


def _original(folder: Path, part: range) -> None:
    with open(folder / f"events.out.tfevents.{part.start}.0", "wb") as file:
        writer = RecordWriter(file)
        start = Event(wall_time=_BEGAN + part.start, file_version="brain.Event:2")
        writer.write(start.SerializeToString())
        for step in part:
            for tag, value in zip(TAGS, _values(step), strict=True):
                held = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                event = Event(wall_time=_BEGAN + step, step=step, summary=held)
                writer.write(event.SerializeToString())


def _ours(folder: Path, part: range) -> None:
    events = EventFile(folder, part.start if part.start > 1 else 0)
    for step in part:
        events.write(step, dict(zip(TAGS, _values(step), strict=True)))
    events.close()


def _metrics(path: Path, steps: int) -> None:
    log = MetricsLog(path)
    log.write({"step": 0, "epoch": 0, "setvae/log_format": 1})
    for step in range(1, steps + 1):
        head = {"step": step, "epoch": 1 + step // 1000, "seconds": step / 7}
        log.write(head | dict(zip(TAGS, _values(step), strict=True)))
    log.close()
