"""Eleven faults to the command itself, from its start to the measurement on test; the same bits.

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
from tests.faults.runs import SEED, differences

# What the command does when it is stopped, and by what; some while after that began.
FAULTS = (
    ("starting", "KILL"),
    ("preparing", "KILL"),
    ("preparing", "TERM"),
    ("saving", "KILL"),  # half a first checkpoint: the run is not gone on with
    ("training", "KILL"),
    ("training", "INT"),
    ("training", "KILL"),
    ("training", "HUP"),
    ("training", "USR1"),
    ("training", "KILL"),
    ("measuring", "TERM"),
)
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


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The command, which speaks to a file."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SETVAE_")}
    with open(folder / "told", "wb") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "setvae_cli.cli.app", *COMMAND],
            cwd=folder,
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
        )


def told_in(folder: Path) -> str:
    return (folder / "told").read_text()


def has_begun(phase: str, folder: Path) -> bool:
    """Whether a command is that far, as it can be seen from outside."""
    run = run_of(folder)
    match phase:
        case "preparing":
            return any(folder.glob("outputs/.cache/*"))
        case "training":
            return "machine" in told_in(folder)
        case "saving":
            return run is not None and any(run.checkpoints.glob(".tmp-*"))
        case "measuring":
            return run is not None and any(run.checkpoints.glob("final_*"))
    return True


def wait_until(phase: str, folder: Path, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and not has_begun(phase, folder):
        time.sleep(0.001)


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


def test_a_command_that_is_stopped_eleven_times_ends_with_the_same_bits(tmp_path, report) -> None:
    expected = table(tmp_path / "whole")
    process = start(expected)
    wait_until("training", expected, process)
    began = time.monotonic()
    assert process.wait(200) == 0, told_in(expected)
    seconds = {"starting": 2.0, "preparing": 0.3, "saving": 0.0, "measuring": 0.1}
    seconds["training"] = (time.monotonic() - began) / 4
    whole = run_of(expected)
    assert whole is not None
    folder, generator = table(tmp_path / "parts"), random.Random(SEED)
    met, ends = 0, 0
    while met < len(FAULTS):
        phase, name = FAULTS[met]
        number, process = signal.Signals[f"SIG{name}"], start(folder)
        wait_until(phase, folder, process)
        try:
            process.wait(generator.uniform(0, seconds[phase]))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        code, told = process.wait(100), told_in(folder)
        if code == 0:  # it was faster; the next one begins anew
            ends += 1
            compared(folder, whole).path.rename(folder / f"done{ends}")
            assert ends < len(FAULTS)
            continue
        met += 1
        assert is_right(folder, code, told, number), (phase, code, told)
    process = start(folder)
    assert process.wait(200) == 0, told_in(folder)
    compared(folder, whole)
    assert not list(folder.rglob(".tmp-*"))
    report("kill -9 and signals, the command", injected=met, survived=met)


def compared(folder: Path, whole: RunFolder) -> RunFolder:
    """The run in a folder, which ended as the one that was never stopped."""
    run = run_of(folder)
    assert run is not None
    assert differences(run, whole) == []
    return run


def test_a_killed_loader_worker_ends_training_in_one_line(tmp_path, report) -> None:
    folder = table(tmp_path / "data")
    process = start(folder)
    wait_until("training", folder, process)
    victim = None
    while victim is None and process.poll() is None:
        victim = next(iter(children_of(process.pid)), None)
        time.sleep(0.05)
    assert victim is not None
    time.sleep(0.5)
    os.kill(victim, signal.SIGKILL)
    code, told = process.wait(100), told_in(folder)
    lines = [line for line in told.splitlines() if "error: " in line]
    assert code == 1, told
    assert len(lines) == 1
    assert re.fullmatch(r"setvae train: error: a loader worker died, .*; use .*", lines[0])
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
