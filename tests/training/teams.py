"""Runs of several processes, through the real command; some act at a chosen step.

As a script: `python teams.py STEP RANK SIGNAL -- ARGUMENTS` is `setvae ARGUMENTS`, in which the
process of that rank sends itself that signal behind that step (0 0 0: never). Rank -1 is all of
them, as when Ctrl-C is typed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from setvae_cli.store.reader import Store

SECONDS = 180
SMALL = {
    "device": "cpu",
    "preset": "tiny",
    "dim": "8",
    "ff_dim": "8",
    "max_epochs": "4",
    "batch_size": "2",
    "gradient_accumulation_steps": "2",
    "val_check_interval": "0.5",
    "patience": "0",
}
TWO = ("--devices", "2", "--strategy", "ddp")
NEVER = (0, 0, 0)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code, or minus the signal.
        output, error: What it wrote.
        left: Processes of its session that outlive it.
    """

    code: int
    output: str
    error: str
    left: tuple[int, ...]


def environment() -> dict[str, str]:
    """Variables of a shell without any of ours or of a launcher's."""
    own = ("SETVAE_", "RANK", "LOCAL_", "WORLD_", "MASTER_", "NODE_", "TORCHELASTIC_", "SLURM_")
    return {k: v for k, v in os.environ.items() if not k.startswith(own)} | {"OMP_NUM_THREADS": "1"}


def run_setvae(
    *arguments: str,
    folder: Path,
    acts: tuple[int, int, int] = NEVER,
    launcher: Sequence[str] = (sys.executable,),
) -> Ended:
    """Run `setvae` in a session of its own, and see what it leaves behind."""
    process = subprocess.Popen(
        [*launcher, __file__, *map(str, acts), "--", *arguments],
        cwd=folder, env=environment(), text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        output, error = process.communicate(timeout=SECONDS)
    finally:
        left = members(process.pid)
        for pid in left:
            os.kill(pid, 9)
        process.wait()
    return Ended(process.returncode, output, error, left)


def members(session: int) -> tuple[int, ...]:
    """Processes of a session that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(path.parent.name))
    return tuple(found)


def train(store: Store, *options: str, folder: Path, acts: tuple[int, int, int] = NEVER) -> Ended:
    """`setvae train` on a small model."""
    small = [word for name, value in SMALL.items() for word in (_option(name), value)]
    data = ("--data", str(store.path))
    return run_setvae("train", *data, *small, *options, folder=folder, acts=acts)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _main() -> int:
    step, rank, number = map(int, sys.argv[1:4])
    if number:
        _act(step, rank, number)
    from setvae_cli.cli.app import run
    from setvae_cli.cli.failures import catch_signals, harden

    harden()
    catch_signals()
    return run(sys.argv[5:])


def _act(step: int, rank: int, number: int) -> None:
    from setvae_cli.training.pulse import Pulse

    original, done = Pulse.on_train_batch_end, []

    def then(pulse: Pulse, trainer: object, *arguments: object) -> None:
        here = trainer.global_step == step and trainer.global_rank == max(rank, 0)  # type: ignore[attr-defined]
        if here and not done:
            done.append(number)
            os.kill(0 if rank < 0 else os.getpid(), number)
        original(pulse, trainer, *arguments)  # type: ignore[arg-type]

    Pulse.on_train_batch_end = then  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(_main())
