"""Every command works without a network, and none of them tries to use one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.bad_inputs import ONE_STEP, events, table

from setvae_cli.cli.app import COMMANDS

COMMAND = [sys.executable, "-m", "setvae_cli.cli.app"]
RUN = "outputs/seqsetvae/version_0"
SMALL = ["--preset", "tiny", "--device", "cpu", "--quiet"]
# Imported before anything else by every process of the command, loader workers included.
GUARD = """
import socket

class Closed(socket.socket):
    def _check(self, address):
        if self.family != socket.AF_UNIX:
            with open({log!r}, "a") as log:
                print(address, file=log)
            raise OSError("the network is closed")

    def connect(self, address):
        self._check(address)
        return super().connect(address)

    def connect_ex(self, address):
        self._check(address)
        return super().connect_ex(address)

    def bind(self, address):
        self._check(address)
        return super().bind(address)

    def sendto(self, *arguments):
        self._check(arguments[-1])
        return super().sendto(*arguments)

def no_names(*arguments, **named):
    with open({log!r}, "a") as log:
        print("a name was looked up", file=log)
    raise OSError("the network is closed")

socket.socket = Closed
socket.getaddrinfo = socket.gethostbyname = no_names
"""
SESSION: dict[str, list[list[str]]] = {
    "precompute": [
        ["precompute", "events.parquet", "--map", "label:death=death", "--out", "store",
         "--workers", "2", "--quiet"],
        ["precompute", "store", "--verify", "--quiet"],
    ],
    "train": [["train", "--data", "store", *ONE_STEP, "--num-workers", "1", "--quiet"]],
    "finetune": [
        ["finetune", RUN, "--max-steps", "2", "--no-compare", "--name", "tuned", "--quiet"],
    ],
    "resume": [["resume", RUN, "--max-steps", "3", "--max-epochs", "3", "--quiet"]],
    "benchmark-loader": [
        ["benchmark-loader", "--data", "store", *SMALL, "--num-batches", "3"],
    ],
    "export": [["export", RUN, "--quiet"]],
    "analyze-curves": [["analyze-curves", RUN, "--quiet"]],
    "visualize": [["visualize", RUN, "--quiet"]],
    "evaluate": [["evaluate", RUN, "--resamples", "20", "--quiet"]],
    "embed": [["embed", RUN, "--quiet"]],
    "watch": [["watch", RUN, "--once"], ["watch", "outputs", "--json"]],
    "doctor": [["doctor"], ["doctor", "store"], ["doctor", RUN], ["doctor", "model.safetensors"]],
}  # fmt: skip


def session(folder: Path, program: list[str], environment: dict[str, str]) -> None:
    """Every command in turn; none may fail."""
    table(events())(folder)
    for calls in SESSION.values():
        for call in calls:
            done = subprocess.run(
                [*program, *call], cwd=folder, env=os.environ | environment,
                capture_output=True, text=True, check=False, timeout=200,
            )  # fmt: skip
            assert done.returncode == 0, (call, done.stdout, done.stderr)
            assert "network" not in done.stderr


def test_every_command_has_its_turn() -> None:
    assert set(SESSION) == set(COMMANDS)


@pytest.mark.slow
@pytest.mark.faults
def test_no_command_opens_a_connection_or_listens(tmp_path: Path) -> None:
    log, guard = tmp_path / "asked.txt", tmp_path / "guard"
    guard.mkdir()
    guard.joinpath("sitecustomize.py").write_text(GUARD.format(log=str(log)))
    session(tmp_path, COMMAND, {"PYTHONPATH": str(guard)})
    assert not log.exists(), log.read_text()


@pytest.mark.slow
@pytest.mark.faults
def test_every_command_works_where_there_is_no_network(tmp_path: Path) -> None:
    without = ["unshare", "--net"]
    if not shutil.which("unshare") or subprocess.run([*without, "true"], check=False).returncode:
        pytest.skip("needs the right to unshare the network")
    session(tmp_path, [*without, *COMMAND], {})


def test_the_guard_would_see_a_connection(tmp_path: Path) -> None:
    log = tmp_path / "asked.txt"
    tmp_path.joinpath("sitecustomize.py").write_text(GUARD.format(log=str(log)))
    program = "import socket; s = socket.socket(); s.settimeout(1); s.connect(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the network is closed" in done.stderr
    assert log.read_text() == "('127.0.0.1', 9)\n"


@pytest.mark.slow
def test_nothing_that_phones_home_is_imported() -> None:
    names = {"wandb", "huggingface_hub", "requests", "sentry_sdk", "mlflow"}
    program = f"import setvae_cli.training.fit, sys; print(sorted({names} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
