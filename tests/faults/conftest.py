"""The fault suite: every test injects faults of one kind and adds a row to one table.

    make faults        or, one file of it:  pytest -q tests/faults/test_kills.py

A test fails when fewer faults were survived than injected, or when a result was wrong without a
word. Rows travel with the test reports: the table is whole also when pytest-xdist runs the tests.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

KEY = "fault"
_rows: list[tuple[str, int, int, int, int | None]] = []

Report = Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """`report("kill -9 in a save", injected=200, survived=200)` adds a row and checks it."""

    def add(
        fault: str,
        *,
        injected: int,
        survived: int,
        bytes_lost: int = 0,
        silent_wrong: int | None = 0,
    ) -> None:
        """Add a row.

        Args:
            fault: What was done to what.
            injected: Faults.
            survived: Faults after which all was as promised.
            bytes_lost: Bytes of logs behind the first damaged record, which are counted.
            silent_wrong: Wrong results without a word; None for formats without a checksum.
        """
        record_property(KEY, [fault, injected, survived, bytes_lost, silent_wrong])
        assert injected > 0
        assert survived == injected
        assert not silent_wrong

    return add


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        _rows.extend(tuple(row) for name, row in report.user_properties if name == KEY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _rows:
        return
    terminalreporter.write_line("")
    for line in table(_rows):
        terminalreporter.write_line(line)


def table(rows: list[tuple[str, int, int, int, int | None]]) -> list[str]:
    """The rows sorted by name, with their sum, in 80 columns."""
    known = [row[4] for row in rows if row[4] is not None]
    sums = [sum(row[place] for row in rows) for place in (1, 2, 3)]
    lines = [_line("fault", "injected", "survived", "bytes lost", "silent wrong")]
    lines += [_line(*row) for row in sorted(rows)]
    return [*lines, _line("all", *sums, sum(known))]


def _line(fault: object, *cells: object) -> str:
    widths = (10, 10, 12, 14)
    shown = ["-" if cell is None else str(cell) for cell in cells]
    return f"{fault:<34.34}" + "".join(f"{c:>{w}}" for c, w in zip(shown, widths, strict=True))


Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """`mount("size=1m")` gives a fresh tmpfs; skips where this process may not mount."""
    mounted: list[Path] = []

    def add(options: str = "size=32m") -> Path:
        if os.geteuid() != 0:
            pytest.skip("needs root to mount a tmpfs")
        place = tmp_path / f"mount{len(mounted)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True
        )
        if done.returncode != 0:
            pytest.skip("needs the right to mount a tmpfs")
        mounted.append(place)
        return place

    yield add
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(params=["disk", "tmpfs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty folder on the file system of temporary files, and on a tmpfs of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    return place if request.param == "disk" else request.getfixturevalue("mount")()
