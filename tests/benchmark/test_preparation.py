"""The benchmark of preparation: its records, and that nothing stays behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from setvae_cli.benchmark.preparation import main, report
from setvae_cli.benchmark.preparation_run import PreparationRecord, with_slopes, write_table


def record(elements: int, seconds: float, source: str = "simulated") -> PreparationRecord:
    rate = elements / seconds
    return PreparationRecord(source, 2, elements, seconds, rate, rate / 2, 100.0)


def test_each_source_is_measured_and_its_files_are_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--elements", "1e4", "--workers", "1", "--rounds", "1", "--json"]
    assert main([*asked, "--scratch", str(tmp_path)]) == 0
    table, simulated = json.loads(capsys.readouterr().out)
    assert (simulated["source"], table["source"]) == ("simulated", "parquet")
    assert simulated["elements"] == table["elements"] > 5_000
    for one in (simulated, table):
        assert one["elements_per_s"] == pytest.approx(one["elements"] / one["seconds"])
        assert one["peak_memory_mb"] > 10
        assert one["slope"] is None
    assert list(tmp_path.iterdir()) == []


def test_the_table_holds_every_event_of_the_cohort(tmp_path: Path) -> None:
    write_table(270, tmp_path / "table")
    events = pq.read_table(tmp_path / "table" / "events.parquet")
    labels = pq.read_table(tmp_path / "table" / "labels.parquet")
    assert events.column_names == ["subject_id", "time", "code", "value"]
    assert len(set(events["subject_id"].to_pylist())) == len(labels) == 270


def test_the_slope_is_one_where_time_grows_with_size() -> None:
    given = [record(5_000, 5.0), record(1_000, 1.0), record(10_000, 20.0, "parquet")]
    slopes = {(one.source, one.elements): one.slope for one in with_slopes(given)}
    assert slopes == {
        ("simulated", 1_000): None,
        ("simulated", 5_000): 1.0,
        ("parquet", 10_000): None,
    }


def test_the_report_fits_eighty_columns() -> None:
    lines = report([record(50_000_000, 123.4), record(1_000, 0.1)]).splitlines()
    assert max(map(len, lines)) <= 80
    assert "50 000 000" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["--elements", "none"], "expected sizes from 1 to 1e9"),
        (["--source", "csv"], "unknown source 'csv'"),
        (["--workers", "0"], "expected a whole number from 1 on"),
        (["--scratch", "nowhere"], "'nowhere' is no folder"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    arguments: list[str], finding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert finding in said
    assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "line"), [(2, "interrupted"), (15, "stopped by SIGTERM")])
def test_a_signal_ends_it_in_one_line_and_leaves_neither_files_nor_processes(
    tmp_path: Path, number: int, line: str
) -> None:
    told = ["--elements", "5e6", "--source", "simulated", "--workers", "2", "--rounds", "9"]
    child = subprocess.Popen(
        [sys.executable, "-m", "setvae_cli.benchmark.preparation", *told, "--scratch", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    below: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(below) < 3 and time.monotonic() < deadline:  # the preparation, and its processes
        time.sleep(0.05)
        below = psutil.Process(child.pid).children(recursive=True)
    child.send_signal(signal.Signals(number))
    out, said = child.communicate(timeout=60)
    assert (child.returncode, out, said) == (128 + number, "", f"{line}\n")
    assert psutil.wait_procs(below, timeout=10)[1] == []
    assert list(tmp_path.iterdir()) == []
