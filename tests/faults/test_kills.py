"""A SIGKILL at any instant of a write truncates nothing, and costs nothing acknowledged."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from setvae_cli.errors import SetvaeError
from setvae_cli.files import atomic_write, sweep_orphans
from setvae_cli.runs import checkpoint, metrics_log
from setvae_cli.store.reader import verify
from tests.faults.artefacts import payload, same
from tests.faults.children import Acknowledge, kill_within
from tests.tiny import cohort, write

KILLS, KILLS_OF_PREPARATION = 200, 40
FLOATS = 100_000


@dataclass(frozen=True)
class Writer:
    """Writes one number after the other to a file, and reads the last one back.

    Attributes:
        write: Writes numbers from one on for ever, acknowledging each.
        read: The last number; anything else than a whole file is a SetvaeError or a ValueError.
        leaves_temporaries: Whether a kill within a write leaves one.
    """

    write: Callable[[Path, int, Acknowledge], None]
    read: Callable[[Path], int]
    leaves_temporaries: bool = True


def _write_checkpoints(path: Path, first: int, acknowledge: Acknowledge) -> None:
    for number in count(first):
        checkpoint.save(path, payload(number, floats=FLOATS))
        acknowledge(number)


def _read_checkpoint(path: Path) -> int:
    content = checkpoint.read(path)
    if not same(dict(content.payload), payload(content.step, floats=FLOATS)):
        raise ValueError("another content")
    return content.step


def _write_texts(path: Path, first: int, acknowledge: Acknowledge) -> None:
    for number in count(first):
        atomic_write(path, f"{number}\n" * 20_000)
        acknowledge(number)


def _read_text(path: Path) -> int:
    lines = path.read_text().splitlines()
    if len(lines) != 20_000 or len(set(lines)) != 1:
        raise ValueError("a part of a text")
    return int(lines[0])


def _write_records(path: Path, first: int, acknowledge: Acknowledge) -> None:
    log = metrics_log.MetricsLog(path)
    for number in count(first):
        log.write({"step": number, "note": "x" * 5_000})
        acknowledge(number)


def _read_records(path: Path) -> int:
    steps = [record["step"] for record in metrics_log.read(path).records]
    if sorted(set(steps)) != list(range(1, max(steps) + 1)):
        raise ValueError("a record is missing")
    return max(steps)


WRITERS = {
    "checkpoint": Writer(_write_checkpoints, _read_checkpoint),
    "any file": Writer(_write_texts, _read_text),
    "metrics.jsonl": Writer(_write_records, _read_records, leaves_temporaries=False),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_kill_in_a_write_keeps_every_acknowledged_one(folder, report, name) -> None:
    writer, path, generator = WRITERS[name], folder / "file", random.Random(0)
    acknowledged, survived, torn = 0, 0, 0
    for _ in range(KILLS):
        safe = kill_within(
            lambda tell, first=acknowledged + 1: writer.write(path, first, tell),
            generator.uniform(0, 0.012),
        )
        acknowledged = max([acknowledged, *safe])
        torn += sweep_orphans(folder)
        survived += _last(writer, path, at_least=acknowledged)
    assert [entry.name for entry in folder.iterdir()] == ["file"]
    assert torn > 0 or not writer.leaves_temporaries
    report(f"kill -9, {name}, {_system(folder)}", injected=KILLS, survived=survived)


def _last(writer: Writer, path: Path, *, at_least: int) -> bool:
    """Whether the file is whole and holds all that was acknowledged; before the first, none is."""
    if at_least == 0 and not path.exists():
        return True
    try:
        return writer.read(path) >= at_least
    except (SetvaeError, ValueError):
        return False


def test_a_killed_preparation_leaves_a_whole_store_or_none(folder, report) -> None:
    source, out, generator = cohort(60), folder / "store", random.Random(1)
    began = time.monotonic()
    expected = write(source, out).digest
    seconds, survived, stores = time.monotonic() - began, 0, 0

    def prepare(acknowledge: Acknowledge) -> None:
        write(source, out)
        acknowledge(1)
        time.sleep(60)

    for _ in range(KILLS_OF_PREPARATION):
        shutil.rmtree(out, ignore_errors=True)
        safe = kill_within(prepare, generator.uniform(0, 2 * seconds))
        sweep_orphans(folder)
        whole = out.exists() and verify(out).digest == expected
        seconds *= 0.95 if whole else 1.05  # the machine may be busier, or less so, by now
        stores += whole
        survived += whole or not (safe or out.exists())
    assert 0 < stores < KILLS_OF_PREPARATION
    report(
        f"kill -9, preparation, {_system(folder)}", injected=KILLS_OF_PREPARATION, survived=survived
    )


def _system(folder: Path) -> str:
    return "tmpfs" if folder.name.startswith("mount") else "disk"
