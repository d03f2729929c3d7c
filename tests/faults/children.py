"""Children of this process: forked, so that what is imported once serves hundreds of them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Acknowledge = Callable[[int], None]


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: Exit code, or minus the signal.
        error: What it wrote to stderr.
    """

    code: int
    error: str


def kill_within(work: Callable[[Acknowledge], None], seconds: float) -> list[int]:
    """Let a child work, and SIGKILL it after a while.

    Args:
        work: Calls its argument with each number whose work is safe.
        seconds: From the child's first instruction to the signal.

    Returns:
        The acknowledged numbers.

    Raises:
        ChildProcessError: It ended before the signal.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.write(writing, b"\0")
        _end_with(lambda: work(lambda number: _send(writing, number)))
    os.close(writing)
    os.read(reading, 1)  # it runs
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    acknowledged = _drain(reading)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        raise ChildProcessError(f"the child ended with {status}")
    return acknowledged


def run_child(
    work: Callable[[], int | None], errors: Path, *, limits: Mapping[int, int] | None = None
) -> Ended:
    """Run a function to its end in a child with its own stderr and limits.

    Args:
        work: Returns the exit code; None is 0.
        errors: File for stderr.
        limits: Limits of resources by their number.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _redirect(errors)
        for number, most in (limits or {}).items():
            resource.setrlimit(number, (most, most))
        _end_with(work)
    _, status = os.waitpid(pid, 0)
    return Ended(os.waitstatus_to_exitcode(status), errors.read_text(errors="replace"))


def run_setvae(
    *arguments: str, folder: Path, prefix: tuple[str, ...] = (), seconds: float = 120
) -> Ended:
    """Run the command as a person does, in a process of its own.

    Args:
        arguments: What stands behind `setvae`.
        folder: Where the person stands.
        prefix: What stands before the command, such as `unshare -m`.
        seconds: After so long it hangs.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SETVAE_")}
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "setvae_cli.cli.app", *arguments],
        cwd=folder,
        env=clean,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ended(done.returncode, done.stderr)


def _end_with(work: Callable[[], int | None]) -> None:
    """Run and leave at once: nothing of pytest's own endings runs in a child."""
    code = 70
    try:
        code = work() or 0
        sys.stderr.flush()
    except BaseException as error:  # noqa: BLE001 (the last stop of a child)
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(code)


def _redirect(errors: Path) -> None:
    descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 2)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")


def _send(pipe: int, number: int) -> None:
    os.write(pipe, number.to_bytes(8, "little"))


def _drain(pipe: int) -> list[int]:
    data = b""
    while chunk := os.read(pipe, 1 << 16):
        data += chunk
    os.close(pipe)
    return [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data) - 7, 8)]
