"""Logs that cannot be used stop `analyze-curves` in one line; what can be read of others is.

Numbers are those of the project's list of bad inputs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reports.logs import original, records, write_events

from setvae_cli.runs.metrics_log import MetricsLog

NAME = "events.out.tfevents.1.0"
Factory = Callable[[Path], object]


def folder_with(make: Callable[[Path], object], name: str = NAME) -> Factory:
    """A folder `logs` in which a factory makes one file."""

    def prepared(folder: Path) -> None:
        (folder / "logs").mkdir()
        make(folder / "logs" / name)

    return prepared


def foreign(folder: Path) -> None:
    write_events(folder / "logs", [(1, {"speed": 1.0, "Loss/train": 2.0})])


def empty_log(folder: Path) -> None:
    (folder / "logs").mkdir()
    MetricsLog(folder / "logs" / "metrics.jsonl").close()


NOTHING = r"logs: its log holds no values yet; train first"
REFUSED: dict[str, tuple[Factory, str]] = {
    "1 missing": (lambda folder: None, r"logs: no such folder; check the path"),
    "2 a file": (
        lambda folder: (folder / "logs").write_text("x"),
        r"logs: is a file, expected a folder with logs; name its folder",
    ),
    "4 a loop of links": (
        lambda folder: (folder / "logs").symlink_to("logs"),
        r"logs: no such folder; check the path",
    ),
    "5 a device": (folder_with(lambda path: path.symlink_to("/dev/zero")), NOTHING),
    "5 a fifo": (folder_with(os.mkfifo), NOTHING),
    "5 a fifo for metrics": (folder_with(os.mkfifo, "metrics.jsonl"), NOTHING),
    "6 zero bytes": (folder_with(Path.touch), r"logs: its event files are empty; train first"),
    "6 zero bytes of metrics": (empty_log, NOTHING),
    "8 no event file": (
        folder_with(lambda path: path.write_text("a,b\n1,2\n" * 99)),
        r"logs: its log holds no values yet; train first",
    ),
    "101 an empty folder": (
        lambda folder: (folder / "logs").mkdir(),
        r"logs: holds no log: no metrics\.jsonl and no event file; name a run's folder, or .*",
    ),
    "102 no such tag": (
        foreign,
        r"logs: holds no curve of training or validation; its tags: Loss/train, speed; name .*",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_log_that_cannot_be_used_is_refused_in_one_line(here, tmp_path: Path, name: str) -> None:
    make, line = REFUSED[name]
    make(tmp_path)
    done = here("analyze-curves", "logs", "--quiet")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert re.fullmatch(f"setvae analyze-curves: error: {line}\n", done.stderr), done.stderr
    assert not (tmp_path / "logs" / "analysis").exists()


@pytest.mark.faults
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv to give up root's rights")
@pytest.mark.parametrize("named", ["logs", f"logs/{NAME}"])
def test_3_what_may_not_be_read_is_named(tmp_path: Path, named: str) -> None:
    write_events(tmp_path / "logs", original(100)).rename(tmp_path / "logs" / NAME)
    (tmp_path / named).chmod(0)
    without_root = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    command = [sys.executable, "-m", "setvae_cli.cli.app", "analyze-curves", "logs", "--quiet"]
    done = subprocess.run(
        [*without_root, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    (tmp_path / named).chmod(0o700)
    assert done.returncode == 2, done.stderr
    line = (
        rf"setvae analyze-curves: error: {named}: .*\(permission denied\); change its permissions\n"
    )
    assert re.fullmatch(line, done.stderr), done.stderr


def test_40_a_path_with_odd_letters_works(here, tmp_path: Path) -> None:
    name = "läufe \n$x^{$" + "y" * 200
    write_events(tmp_path / name, original(100))
    done = here("analyze-curves", name, "--quiet")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name / "analysis" / "report.html").is_file()


@pytest.mark.slow
def test_103_a_damaged_event_file_is_read_as_far_as_it_goes_with_a_warning(
    here, tmp_path: Path
) -> None:
    path = write_events(tmp_path / "logs", original(300))
    data, (start, end) = bytearray(path.read_bytes()), records(path)[40]
    data[start + 30] ^= 4
    path.write_bytes(data)
    done = here("analyze-curves", "logs")
    assert done.returncode == 0
    assert f"{end - start} B of its event files are damaged" in done.stderr
    assert "node17" not in done.stdout + done.stderr


def test_104_a_record_that_is_still_being_written_is_no_matter(here, tmp_path: Path) -> None:
    path = write_events(tmp_path / "logs", original(300))
    path.write_bytes(path.read_bytes()[:-9])
    done = here("analyze-curves", "logs")
    assert (done.returncode, "damaged" in done.stderr) == (0, False)
