"""`setvae watch` from the outside: which run, what is refused, one picture or a live one."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.reports.watched import append, ending, records, run_folder, write_log

COMMAND = [sys.executable, "-m", "setvae_cli.cli.app", "watch"]
RUN = "outputs/seqsetvae/version_0"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a run that is on."""
    return write_log(run_folder(tmp_path / RUN), records(300))


def test_off_a_terminal_there_is_one_plain_picture_of_the_latest_run(here, log: Path) -> None:
    done = here("watch", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == f"run  {RUN} (the latest)"
    assert done.stdout.startswith(f"{RUN}   running, last record ")
    assert all(letter.isprintable() or letter == "\n" for letter in done.stdout)
    assert 80 < max(map(len, done.stdout.splitlines())) <= 100


def test_json_is_one_document_of_figures(here, log: Path) -> None:
    found = json.loads(here("watch", RUN, "--json", "--quiet").stdout)
    assert (found["run"], found["state"], found["step"]) == (RUN, "running", 300)
    runs = json.loads(here("watch", "outputs", "--json").stdout)["runs"]
    assert [each["run"] for each in runs] == [RUN]


def test_a_folder_of_runs_is_a_table(here, log: Path, tmp_path: Path) -> None:
    done_run = run_folder(tmp_path / "outputs/seqsetvae/version_1")
    write_log(done_run, [*records(1000), ending(1000)])
    lines = here("watch", "outputs", COLUMNS="100").stdout.splitlines()
    assert lines[0] == "2 runs below outputs/seqsetvae"
    assert re.split("  +", lines[1]) == [
        "run", "state", "step", "epoch", "loss", "val AUC", "verdict", "last record"
    ]  # fmt: skip
    assert re.match(r"version_0 +running +300 / 1 000 +3 +14\.73 +0\.800 +warming +\d+ s", lines[2])
    assert re.match(r"version_1 +finished +1 000 / 1 000", lines[3])


def test_of_several_runs_one_that_cannot_be_read_is_named(here, log: Path, tmp_path: Path) -> None:
    other = run_folder(tmp_path / "outputs/seqsetvae/version_1")
    (other / "metrics.jsonl").write_text("{}\n")
    done = here("watch", "outputs")
    assert done.returncode == 0
    assert "version_1/metrics.jsonl: is damaged from its start" in " ".join(done.stdout.split())


def test_a_log_without_a_scalar_says_so_and_draws_nothing(here, tmp_path: Path) -> None:
    write_log(run_folder(tmp_path / RUN), [])
    done = here("watch", RUN, "--once")
    assert (done.returncode, done.stdout) == (0, f"{RUN}   waits: nothing was logged yet\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], r"nowhere: no such file or folder; check the path"),
        (["notes.txt"], r"notes\.txt: is a file, expected a run's folder .*; name the folder"),
        (["empty"], r"empty: holds no run: no metrics\.jsonl in it or below it; name a run's .*"),
        (["fresh"], r"fresh: this run holds no metrics\.jsonl, so there is nothing .*; wait .*"),
        (["logs"], r"logs: holds TensorBoard logs and .*; draw them with setvae analyze-curves .*"),
        (["bad"], r"bad/metrics\.jsonl: is damaged from its start, or no log of setvae; .*"),
        ([], r"outputs: holds no run; name a run's folder, .*"),
        (["bad", "--once", "--until-end"], r"--until-end: is given beside --once; keep one"),
    ],
)
def test_what_cannot_be_watched_is_refused_in_one_line_and_no_picture(
    here, tmp_path: Path, arguments: list[str], line: str
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    run_folder(tmp_path / "fresh")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/events.out.tfevents.1.host.0").write_bytes(b"")
    run_folder(tmp_path / "bad").joinpath("metrics.jsonl").write_text("simulated\n")
    done = here("watch", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"setvae watch: error: {line}\n", done.stderr), done.stderr


def test_where_only_ascii_can_be_shown_the_picture_is_in_ascii(setvae, log: Path) -> None:
    done = setvae("watch", RUN, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "|" in done.stdout


def test_neither_torch_nor_numpy_is_imported_to_watch(tmp_path: Path, log: Path) -> None:
    program = (
        "import sys; from setvae_cli.cli import app; app.run(['watch', '--once', '--quiet']);"
        "print(sorted({'torch', 'numpy', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


class Screen:
    """A terminal of 80 by 24 in which the command runs."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._end, other = pty.openpty()
        environment = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], cwd=folder, env=os.environ | environment,
            stdin=other, stdout=other, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(other)
        self.said = ""

    def until(self, words: str) -> None:
        """Read what is drawn until these words stand there."""
        last = time.monotonic() + 60
        while words not in self.said:
            assert time.monotonic() < last, self.said
            self._read(0.2)

    def end(self) -> int:
        """Read the rest; the exit code."""
        last = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < last:
            self._read(0.1)
        self._read(0.1)
        os.close(self._end)
        return self.process.wait(10)

    def _read(self, seconds: float) -> None:
        while select.select([self._end], [], [], seconds)[0]:
            try:
                data = os.read(self._end, 1 << 16)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            self.said += data.decode(errors="replace")


@pytest.mark.slow
def test_a_live_picture_follows_the_log_until_ctrl_c_which_is_no_error(
    tmp_path: Path, log: Path
) -> None:
    screen = Screen(tmp_path, RUN)
    screen.until("300 / 1 000")
    append(log, records(310)[-1:])
    screen.until("310 / 1 000")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 0
    assert screen.said.count("\x1b[?1049h") == screen.said.count("\x1b[?1049l") == 1


@pytest.mark.slow
def test_a_live_picture_ends_by_itself_when_asked_to(tmp_path: Path, log: Path) -> None:
    screen = Screen(tmp_path, RUN, "--until-end")
    screen.until("300 / 1 000")
    append(log, [ending(300)])
    screen.until("Test split")
    assert screen.end() == 0


@pytest.mark.slow
def test_a_signal_that_is_not_ctrl_c_leaves_the_terminal_as_it_was(
    tmp_path: Path, log: Path
) -> None:
    screen = Screen(tmp_path, RUN)
    screen.until("300 / 1 000")
    screen.process.send_signal(signal.SIGTERM)
    assert screen.end() == 143
    assert screen.said.count("\x1b[?1049h") == screen.said.count("\x1b[?1049l") == 1
