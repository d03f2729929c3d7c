"""Runs the command as a person does, in a process of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from setvae_cli.cli import app

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def setvae(tmp_path: Path) -> Run:
    """`setvae("train", "--lr", "0")`, run off a terminal in an empty folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SETVAE_")}
        return subprocess.run(
            [sys.executable, "-m", "setvae_cli.cli.app", *arguments],
            cwd=tmp_path,
            env=clean | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Done]]:
    """The same in this process, which is faster and leaves signals and modes alone."""
    logger = logging.getLogger("setvae_cli")
    before = logger.handlers, logger.level, logger.propagate
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environment: str) -> Done:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            code = app.run(list(arguments))
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    yield run
    logger.handlers, logger.level, logger.propagate = before
