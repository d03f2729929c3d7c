"""The benchmark of curves: its logs, its records, and that nothing stays behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from setvae_cli.benchmark.curves import PROGRAMS, CurvesRecord, main, report
from setvae_cli.benchmark.curves_log import LAYOUTS, TAGS, Layout, write_log
from setvae_cli.reports.curves.joined import join
from setvae_cli.reports.curves.read import read_run
from setvae_cli.reports.events import read


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_log_holds_the_scalars_asked_for_and_a_resumption(layout: Layout, tmp_path: Path) -> None:
    write_log(layout, 10_000, tmp_path / "log")
    logs = [read(path) for path in sorted((tmp_path / "log").glob("events.*"))]
    assert sum(len(log.scalars.values) for log in logs) == pytest.approx(10_000, rel=0.02)
    joined = join(logs)
    assert joined.replaced == pytest.approx(1_000, rel=0.2)
    assert {len(joined.series[tag]) for tag in TAGS} == {455}
    assert read_run(tmp_path / "log").legacy == (layout == "original")


@pytest.mark.slow
def test_every_program_is_measured_on_both_logs_and_files_are_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--scalars", "2000", "--rounds", "1", "--json", "--scratch", str(tmp_path)]
    assert main(asked) == 0
    records = json.loads(capsys.readouterr().out)
    assert {(one["log"], one["program"]) for one in records} == {
        (layout, name) for layout in LAYOUTS for name in PROGRAMS
    }
    for one in records:
        assert one["seconds"] > 0
        assert one["peak_memory_mb"] > 10
    assert list(tmp_path.iterdir()) == []


def test_the_report_fits_eighty_columns() -> None:
    one = CurvesRecord("original", "EventAccumulator", 1_000_000_000, 1234.5, 12345.0, 100.0)
    lines = report([one]).splitlines()
    assert max(map(len, lines)) <= 80
    assert "100.0x" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["--scalars", "0"], "expected a whole number from 1 on"),
        (["--rounds", "none"], "expected a whole number from 1 on"),
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
