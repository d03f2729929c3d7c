"""Ten faults to the command itself, from its start to the measurement on test; the same bits.

Instants follow from `FAULTS_SEED` in the environment, 0 where it is not set.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from setvae_cli.runs.checkpoint import is_intact
from setvae_cli.runs.folder import RunFolder, latest
from setvae_cli.store.reader import verify
from tests.faults.runs import SEED, same

FAULTS = ("KILL", "TERM", "KILL", "INT", "KILL", "HUP", "KILL", "USR1", "KILL", "TERM")
SUBJECTS, MINUTES = 400, 40
COMMAND = ("train", "--data", "events.csv", "--source", "table", "--map", "label:death=death",
           "--resume", "auto", "--preset", "tiny", "--max-epochs", "3", "--device", "cpu",
           "--val-check-interval", "0.2", "--patience", "0", "--num-workers", "1")  # fmt: skip
TOLD = {130: "interrupted", 129: "SIGHUP", 138: "SIGUSR1", 143: "SIGTERM"}


def table(folder: Path) -> Path:
    """Raw events, which the command prepares into its cache first."""
    generator = random.Random(0)
    lines = [
        f"{subject},{60 * time},{code},{generator.gauss(subject % 2, 1):.4f},{subject % 2}"
        for subject in range(SUBJECTS)
        for time in range(MINUTES)
        for code in ("HR", "SBP")
    ]
    folder.mkdir(exist_ok=True)
    (folder / "events.csv").write_text("\n".join(["subject_id,time,code,value,death", *lines]))
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SETVAE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "setvae_cli.cli.app", *COMMAND],
        cwd=folder,
        env=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_of(folder: Path) -> RunFolder | None:
    return latest(folder / "outputs")


def is_right(folder: Path, code: int, told: str, number: int) -> bool:
    """Whether a command that was stopped said so, and left nothing half-written under a name."""
    outside = code == -number and (told == "" or "\nNext:" in told)  # before, or behind its work
    if number != signal.SIGKILL and not outside:
        if code != 128 + number or "Traceback" in told:
            return False
        saved = re.search(r"^saved (interrupted_step=\d+_bs=4\.ckpt)$", told, re.MULTILINE)
        if not saved and not re.search(rf"^setvae train: error: .*{TOLD[code]}$", told, re.M):
            return False
    run = run_of(folder)
    stores = folder.glob("outputs/.cache/*/manifest.json")
    return all(verify(path.parent) for path in stores) and (
        run is None or all(map(is_intact, run.all_checkpoints()))
    )


def phase(folder: Path, told: str) -> str:
    """What a command did when it was stopped, as far as it can be seen from outside."""
    run = run_of(folder)
    if "machine" not in told:
        return "preparing" if told or list(folder.glob("outputs/.cache/*")) else "starting"
    return "measuring" if run and list(run.checkpoints.glob("final_*")) else "training"


def test_a_command_that_is_stopped_ten_times_ends_with_the_same_bits(tmp_path, report) -> None:
    expected, began = table(tmp_path / "whole"), time.monotonic()
    process = start(expected)
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    seconds = time.monotonic() - began
    whole = run_of(expected)
    assert whole is not None
    folder, generator = table(tmp_path / "parts"), random.Random(SEED)
    met, ends = [], 0
    while len(met) < len(FAULTS):
        number, process = signal.Signals[f"SIG{FAULTS[len(met)]}"], start(folder)
        # Every tenth of the time has its turn, the end the more often the more is done.
        share = generator.uniform(len(met), len(met) + 1) / len(FAULTS) * 0.9**ends
        try:
            process.wait(share * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        _, told = process.communicate(timeout=100)
        if process.returncode == 0:  # it was faster; the next one begins anew
            ends += 1
            compared(folder, whole).path.rename(folder / f"done{ends}")
            continue
        met.append(phase(folder, told))
        assert is_right(folder, process.returncode, told, number), (process.returncode, told)
    process = start(folder)
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    compared(folder, whole)
    assert not list(folder.rglob(".tmp-*"))
    assert len(set(met)) > 2, met
    report(f"to the command, in {len(set(met))} phases", injected=len(met), survived=len(met))


def compared(folder: Path, whole: RunFolder) -> RunFolder:
    """The run in a folder, which ended as the one that was never stopped."""
    run = run_of(folder)
    assert run is not None
    assert same(run, whole)
    return run


def test_a_killed_loader_worker_ends_training_in_one_line(tmp_path, report) -> None:
    folder = table(tmp_path / "data")
    process = start(folder)
    assert process.stderr is not None
    assert any(line.startswith("machine") for line in process.stderr)
    victim = None
    while victim is None and process.poll() is None:
        victim = next(iter(children_of(process.pid)), None)
        time.sleep(0.05)
    assert victim is not None
    time.sleep(0.5)
    os.kill(victim, signal.SIGKILL)
    _, told = process.communicate(timeout=100)
    lines = [line for line in told.splitlines() if "error: " in line]
    assert process.returncode == 1, told
    assert len(lines) == 1
    assert re.fullmatch(r"setvae train: error: a loader worker was killed, .*; use .*", lines[0])
    assert "Traceback" not in told
    report("kill -9, loader worker", injected=1, survived=1)


def children_of(pid: int) -> list[int]:
    """Processes that a process started, but for the tracker of shared memory."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_text()
        except OSError:
            continue
        if int(status[1]) == pid and "tracker" not in command:
            found.append(int(path.name))
    return found
