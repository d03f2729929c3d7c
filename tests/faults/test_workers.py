"""Workers that die, memory that runs out, and shared memory that is small end in one line."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from setvae_cli.cli import failures
from setvae_cli.errors import RunError
from setvae_cli.sources.records import Records
from tests.faults.children import run_setvae
from tests.tiny import TinySource, cohort, records, write


@dataclass(frozen=True)
class LethalPart:
    """A part whose reading ends the worker that reads it."""

    number: int
    deadly: bool

    def read(self) -> Records:
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        name = f"s{self.number}"
        return records([(name, 0.0, "lab", 1.0), (name, 5.0, "lab", 2.0)])


class LethalSource(TinySource):
    """Twelve parts, of which the seventh kills."""

    def parts(self, scratch: Path | None = None) -> Iterator[LethalPart]:
        return (LethalPart(number, number == 6) for number in range(12))


def test_a_killed_worker_of_preparation_is_one_line_and_nothing_stays(tmp_path, report) -> None:
    with pytest.raises(RunError, match=r"a worker process died, .*; use fewer --workers") as caught:
        write(LethalSource([]), tmp_path / "store", workers=2)
    code, line = failures.describe(caught.value)
    assert code == 1
    assert line is not None
    assert "\n" not in line
    assert list(tmp_path.iterdir()) == []
    report("worker killed, preparation", injected=1, survived=1)


def test_memory_that_runs_out_is_one_line(tmp_path, report) -> None:
    rows = np.arange(8_000_000)  # of four subjects, each of which is held as a whole
    columns = {
        "subject_id": rows // 2_000_000,
        "minute": rows % 997 * 1.0,
        "variable": pa.array(["a", "b"]).take(pa.array(rows % 2)),
        "value": rows % 1_009 * 1.5,
    }
    pq.write_table(pa.table(columns), tmp_path / "events.parquet", row_group_size=len(rows))
    del columns
    arguments = ["precompute", "events.parquet", "--out", "store", "--workers", "1", "--quiet"]
    limited = ("bash", "-c", 'ulimit -v 700000; exec "$@"', "bash")
    ended = run_setvae(*arguments, folder=tmp_path, prefix=limited)
    assert ended.code == 1, ended
    assert re.fullmatch(r"setvae precompute: error: memory ran out; .*\n", ended.error), ended
    assert [path.name for path in tmp_path.iterdir()] == ["events.parquet"]
    report("memory cap, preparation", injected=1, survived=1)


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root to change /dev/shm"
)
def test_workers_of_training_manage_with_little_shared_memory(tmp_path, report) -> None:
    write(cohort(200), tmp_path / "store")
    small = 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"'
    arguments = ["--data", "store", "--preset", "tiny", "--max-steps", "3", "--device", "cpu"]
    ended = run_setvae(
        "train",
        *arguments,
        "--num-workers",
        "2",
        "--quiet",
        folder=tmp_path,
        prefix=("unshare", "-m", "bash", "-c", small, "bash"),
    )
    if "mount" in ended.error:
        pytest.skip("needs the right to mount a tmpfs")
    assert ended.code in (0, 1), ended
    assert "Traceback" not in ended.error
    assert ended.error.count("\n") == ended.code
    report("8 MB of /dev/shm, training", injected=1, survived=1)
