"""Preparations in processes of their own, taking turns: what each takes in time and memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from setvae_cli.errors import RunError
from setvae_cli.settings.prepare import SourceSettings
from setvae_cli.sources.simulated import TASK, SimulatedSource

ROWS_A_GROUP = 1_000_000  # of the table
SAMPLE_SECONDS = 0.05
PATIENCE_SECONDS = 20.0  # with a preparation that was told to end
COMMAND = ("-c", "from setvae_cli.cli.app import main; raise SystemExit(main())", "precompute")


@dataclass(frozen=True)
class Case:
    """What is prepared: a source of some size, by some workers."""

    source: str
    subjects: int
    workers: int


@dataclass(frozen=True)
class PreparationRecord:
    """One case, measured.

    Attributes:
        source, workers: The case.
        elements: Elements in the store.
        seconds: Median over the rounds, start of the program included.
        elements_per_s: Of the median.
        elements_per_s_per_core: The same over the cores that the workers can use.
        peak_memory_mb: Highest sum over all processes of any round, 1e6 bytes.
        slope: Ratio of times over ratio of elements to the next smaller size; None: the smallest.
    """

    source: str
    workers: int
    elements: int
    seconds: float
    elements_per_s: float
    elements_per_s_per_core: float
    peak_memory_mb: float
    slope: float | None = None


@dataclass(frozen=True)
class Run:
    """One preparation: elements in the store, seconds, and highest memory in bytes."""

    elements: int
    seconds: float
    memory: int


def measure(cases: Sequence[Case], rounds: int, folder: Path) -> list[PreparationRecord]:
    """Let cases take turns.

    Args:
        cases: What to measure.
        rounds: Turns of each.
        folder: Where tables and stores are written; nothing is left in it.

    Raises:
        RunError: A preparation failed.
    """
    tables = {size: folder / f"table-{size}" for size in {c.subjects for c in cases}}
    runs: dict[Case, list[Run]] = {case: [] for case in cases}
    try:
        for case in cases:
            if case.source == "parquet" and not tables[case.subjects].exists():
                write_table(case.subjects, tables[case.subjects])
        for _ in range(rounds):
            for case in cases:
                runs[case].append(prepare(case, tables[case.subjects], folder / "store"))
    finally:
        for table in tables.values():
            shutil.rmtree(table, ignore_errors=True)
    return list(with_slopes([_record(case, own) for case, own in runs.items()]))


def write_table(subjects: int, folder: Path) -> None:
    """Write the built-in cohort as a Parquet table of one event a row, and one of its labels."""
    folder.mkdir(mode=0o700)
    cohort = SimulatedSource(SourceSettings(subjects=subjects))
    labels: list[pa.Table] = []
    held: list[pa.Table] = []
    with pq.ParquetWriter(folder / "events.parquet", _schema()) as writer:
        for part in cohort.parts():
            records = part.read()
            subject = records.subjects["subject_id"].take(records.events["subject"])
            events = records.events.set_column(0, "subject_id", subject)
            held.append(events.select(_schema().names).cast(_schema()))
            labels.append(records.subjects.select(["subject_id", f"label.{TASK}"]))
            if sum(map(len, held)) >= ROWS_A_GROUP:
                writer.write_table(pa.concat_tables(held).combine_chunks())
                held = []
        if held:
            writer.write_table(pa.concat_tables(held).combine_chunks())
    pq.write_table(pa.concat_tables(labels), folder / "labels.parquet")


def _schema() -> pa.Schema:
    text = pa.string()
    return pa.schema(
        [("subject_id", text), ("time", pa.float64()), ("code", text), ("value", pa.float64())]
    )


def prepare(case: Case, table: Path, store: Path) -> Run:
    """Prepare once in a child process, and remove the store.

    Raises:
        RunError: It failed.
    """
    if case.source == "simulated":
        told = ["--source", "simulated", "--subjects", str(case.subjects)]
    else:
        told = [str(table / "events.parquet"), "--labels", str(table / "labels.parquet")]
    told += ["--out", str(store), "--workers", str(case.workers), "--json"]
    environment = {name: v for name, v in os.environ.items() if not name.startswith("SETVAE_")}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *COMMAND, *told], stdout=out, stderr=said, env=environment
        )
        try:
            memory = highest_memory(child)
        finally:
            _end(child)
        seconds = time.perf_counter() - began
        shutil.rmtree(store, ignore_errors=True)
        out.seek(0)
        said.seek(0)
        if child.returncode:
            told_last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise RunError(f"a preparation failed: {' '.join(told_last)}")
        splits = json.loads(out.read())["splits"].values()
    return Run(sum(split["elements"] for split in splits), seconds, memory)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let a process that still runs end its own processes and remove what it wrote."""
    child.terminate()
    try:
        child.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def highest_memory(child: subprocess.Popen[bytes]) -> int:
    """Wait for a process; the highest sum of the memory of it and of all below it, bytes."""
    process, highest = psutil.Process(child.pid), 0
    while child.poll() is None:
        with suppress(psutil.Error):
            together = [process, *process.children(recursive=True)]
            highest = max(highest, sum(map(_memory, together)))
        with suppress(subprocess.TimeoutExpired):
            child.wait(SAMPLE_SECONDS)
    return highest


def _memory(process: psutil.Process) -> int:
    """Its own pages and its share of those it shares, where the system says; else all of them."""
    try:
        info = process.memory_full_info()
    except psutil.Error:  # it ended meanwhile
        return 0
    return int(getattr(info, "pss", info.rss))


def _record(case: Case, runs: Sequence[Run]) -> PreparationRecord:
    seconds = median(run.seconds for run in runs)
    cores = min(case.workers, len(os.sched_getaffinity(0)))
    rate = runs[0].elements / seconds
    memory = max(run.memory for run in runs) / 1e6
    return PreparationRecord(
        case.source, case.workers, runs[0].elements, seconds, rate, rate / cores, memory
    )


def with_slopes(records: Sequence[PreparationRecord]) -> Iterator[PreparationRecord]:
    """Records by source, workers and size, each compared with the next smaller one."""
    before: PreparationRecord | None = None
    for one in sorted(records, key=lambda r: (r.source, r.workers, r.elements)):
        same = before is not None and (before.source, before.workers) == (one.source, one.workers)
        if before is None or not same or before.elements == one.elements:
            yield one
        else:
            growth = one.elements / before.elements
            yield replace(one, slope=one.seconds / before.seconds / growth)
        before = one
