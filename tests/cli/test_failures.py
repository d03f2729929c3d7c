"""Every failure ends in one line and its exit code, and quotes no data."""

import errno
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from setvae_cli.cli.failures import Terminated, guard
from setvae_cli.errors import DataError, InputError, NumericalError, RunError, SettingsError

SECRET = "patient 987654321"


class OutOfMemoryError(RuntimeError):
    """What torch raises when a GPU is full."""


class InductorError(RuntimeError):
    """What torch raises when it cannot compile."""

    __module__ = "torch._inductor.exc"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SettingsError("must be above 0", where="--lr"), 2, "--lr: must be above 0"),
        (InputError("is empty", where="a.csv", mend="check it"), 2, "a.csv: is empty; check it"),
        (RunError("disk is full"), 1, "disk is full"),
        (DataError("changed"), 1, "changed"),
        (NumericalError("loss is nan at step 3"), 1, "loss is nan at step 3"),
        (InputError("two\nlines"), 2, "two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(signal.SIGINT), 130, "interrupted"),
        (Terminated(signal.SIGTERM), 143, "stopped by SIGTERM"),
        (Terminated(signal.SIGHUP), 129, "stopped by SIGHUP"),
        (MemoryError(SECRET), 1, "memory ran out; use a smaller --batch-size, or fewer --workers"),
        (OutOfMemoryError(SECRET), 1, "the GPU's memory ran out; use a smaller --batch-size"),
        (
            InductorError(SECRET),
            1,
            "torch.compile failed; it needs a C++ compiler; leave out --compile-model",
        ),
        (OSError(errno.EIO, SECRET, "/home/me/x.arrow"), 1, "x.arrow: input/output error"),
        (
            OSError(errno.ENOSPC, SECRET),
            1,
            "no space left on device; free some space or name another folder",
        ),
    ],
)
def test_each_failure_has_its_line_and_code(capsys, error, code: int, line: str) -> None:
    def body() -> None:
        raise error

    assert guard("setvae train", body) == code
    assert capsys.readouterr().err == f"setvae train: error: {line}\n"


def test_a_fault_of_ours_names_its_kind_and_place_but_no_value(capsys) -> None:
    def body() -> None:
        raise KeyError(SECRET)

    assert guard("setvae train", body) == 1
    line = capsys.readouterr().err
    assert line.startswith("setvae train: error: a fault in setvae (KeyError at ")
    assert line.endswith("); run again with --debug\n")
    assert SECRET not in line


def test_success_is_0() -> None:
    assert guard("setvae", lambda: None) == 0


def test_everything_written_is_private_and_no_core_is_dumped(setvae, tmp_path: Path) -> None:
    arguments = ["--source", "simulated", "--subjects", "40", "--out", "store", "--workers", "1"]
    assert setvae("precompute", *arguments).returncode == 0
    for path in [tmp_path / "store", *tmp_path.joinpath("store").rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path.name
    code = "import resource; from setvae_cli.cli.failures import harden; harden();"
    code += "print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


@pytest.mark.faults
@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, "1"), (signal.SIGTERM, "2"), (signal.SIGHUP, "1")]
)
def test_a_signal_ends_preparation_with_its_code_and_leaves_nothing(
    tmp_path: Path, number: int, workers: str
) -> None:
    arguments = ["--source", "simulated", "--subjects", "20000", "--out", "store"]
    arguments += ["--workers", workers]
    process = subprocess.Popen(
        [sys.executable, "-m", "setvae_cli.cli.app", "precompute", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    _wait_for(lambda: any(tmp_path.iterdir()))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert errors.startswith("setvae precompute: error: ")
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    command = f"{sys.executable} -m setvae_cli.cli.app train --help | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def _wait_for(happened, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_nohup_keeps_a_hangup_ignored() -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from setvae_cli.cli.failures import catch_signals; catch_signals();"
        "os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "alive\n"


def test_a_signal_while_an_object_goes_away_is_kept_and_prints_nothing() -> None:
    program = """
import os, signal
from setvae_cli.cli import failures

class Gone:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def body():
    gone = Gone()
    del gone
    failures.check_signals()

failures.catch_signals()
raise SystemExit(failures.guard("setvae train", body))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "setvae train: error: stopped by SIGTERM\n")
