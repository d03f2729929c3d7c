"""A run of many small steps that is stopped at random instants, in forked children of this process.

Everything that touches threads (reading tables, training) happens in children; this process only
imports, waits and sends signals.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from setvae_cli.cli import failures
from setvae_cli.errors import InputError
from setvae_cli.runs.checkpoint import is_intact, read
from setvae_cli.runs.folder import RunFolder, latest
from setvae_cli.runs.metrics_log import read as read_log
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training import pulse
from setvae_cli.training.fit import fit
from setvae_cli.training.records import Progress
from setvae_cli.training.resumption import prepare
from tests.training.stores import write_store

SEED = int(os.environ.get("FAULTS_SEED", "0"))
STEPS = 400
HANGS = 60.0  # seconds
NAME = "seqsetvae"
SMALL = {
    "dim": 8, "heads": 2, "latent_dim": 4, "ff_dim": 8, "variable_dim": 4, "variable_pools": 2,
    "embedding_dim": 4, "batch_size": 4, "gradient_accumulation_steps": 1, "max_epochs": 99,
    "max_steps": STEPS, "patience": 0, "save_every_minutes": 0.1 / 60, "device": "cpu",
}  # fmt: skip


@dataclass(frozen=True)
class End:
    """How a child ended.

    Attributes:
        code: Exit code, or minus the signal.
        seconds: From the signal to the end; from the start where there was none.
        steps: Micro-batches that it trained.
        began: Seconds to the first of them; None without one.
    """

    code: int
    seconds: float
    steps: int
    began: float | None


@dataclass
class Study:
    """A folder with a store and runs on it.

    Attributes:
        folder: Where it is.
        steps: Steps trained so far in all its children.
        exits: Seconds from each signal to the end.
    """

    folder: Path
    steps: int = 0
    exits: list[float] = field(default_factory=list)

    @property
    def run(self) -> RunFolder | None:
        """The run that is on, or was last."""
        return latest(self.folder / "outputs", NAME)

    def write(self) -> None:
        """Write the store, in a child."""
        assert _ended(_fork(lambda tell: self._prepare())).code == 0

    def train(self, stop: int | None = None, after: float = 0.0) -> End:
        """Start a run, or go on with the one that is not done, in a child.

        Args:
            stop: A signal to send.
            after: Seconds from when the child listens to signals.
        """
        end = _ended(_fork(self._train), stop, after)
        self.steps += end.steps
        if stop is not None:
            self.exits.append(end.seconds)
        return end

    def is_whole(self) -> bool:
        """Whether everything that stands in the run under a name of its own is whole."""
        run = self.run
        if run is None:
            return True
        names = [path for path in run.path.rglob("*") if not path.name.startswith(".")]
        known = {"settings.yaml", "checkpoints", "manifest.json", "metrics.jsonl"}
        known |= {"posterior_metrics", "metrics_history.json", "metrics_latest.json"}
        foreign = {
            path.name
            for path in names
            if path.name not in known and path.suffix != ".ckpt" and "tfevents" not in path.name
        }
        return not foreign and all(map(is_intact, run.all_checkpoints()))

    def _prepare(self) -> int:
        write_store(self.folder)
        return 0

    def _train(self, tell: Callable[[], None]) -> int:
        torch.set_num_threads(1)
        pulse.SECONDS = 0.0
        self._fit(tell)
        return 0

    def _fit(self, tell: Callable[[], None]) -> None:
        settings = TrainSettings.from_flat(
            {**SMALL, "output_dir": str(self.folder / "outputs"), "name": NAME}
        )
        store, run = Store.open(self.folder / "store"), self.run

        def sink(record: object) -> None:
            if isinstance(record, Progress):
                tell()

        if run is None or not run.all_checkpoints():
            fit(settings, store, sink)
        else:
            resumption = prepare(run.path, {})
            fit(resumption.settings, store, sink, resumption)


def outcome(run: RunFolder) -> tuple[Mapping[str, torch.Tensor], list[dict[str, object]]]:
    """Final weights, and all records but for the clock."""
    (final,) = run.checkpoints.glob("final_*")
    records = read_log(run.metrics).records
    return read(final).payload["state_dict"], [
        {name: value for name, value in record.items() if name != "seconds"} for record in records
    ]


def differences(run: RunFolder, expected: RunFolder) -> list[str]:
    """How a run ended with other bits or other logs than another one; nothing where it did not."""
    try:
        (weights, log), (other, other_log) = outcome(run), outcome(expected)
    except (ValueError, InputError) as error:
        return [f"{type(error).__name__}: {error}"]
    found = [
        f"weight {name}"
        for name in sorted(weights.keys() | other.keys())
        if name not in weights or name not in other or not torch.equal(weights[name], other[name])
    ]
    pairs = itertools.zip_longest(log, other_log)
    found += [f"record {at}: {a}, not {b}" for at, (a, b) in enumerate(pairs) if a != b]
    return found[:4]


def _fork(work: Callable[[Callable[[], None]], int]) -> tuple[int, int]:
    """A child that works, and a pipe with one byte when it listens and one a step."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    code = 70
    try:
        os.close(reading)
        os.setpgid(0, 0)

        def listen_and_work() -> int:
            failures.catch_signals()
            os.write(writing, b"\0")
            return work(lambda: os.write(writing, b".") and None)

        code = failures.guard("setvae train", listen_and_work)
    finally:
        os._exit(code)


def _ended(child: tuple[int, int], stop: int | None = None, after: float = 0.0) -> End:
    """Wait for the end of a child, on the way to which a signal may be sent.

    Raises:
        TimeoutError: It hangs; then it is killed.
    """
    pid, pipe = child
    os.read(pipe, 1)
    listens, told, began, sent = time.monotonic(), 0, None, None
    while True:
        now = time.monotonic() - listens
        due = HANGS if stop is None or sent is not None else after - now
        if due <= 0 and stop is not None:
            os.kill(pid, stop)
            sent = time.monotonic()
            continue
        ready, _, _ = select.select([pipe], [], [], min(max(due, 0.0), HANGS))
        if not ready:
            if time.monotonic() - listens > HANGS:
                os.kill(pid, signal.SIGKILL)
                raise TimeoutError("a child hangs")
            continue
        chunk = os.read(pipe, 4096)
        if not chunk:
            break
        began = time.monotonic() - listens if began is None else began
        told += len(chunk)
    os.close(pipe)
    _, status = os.waitpid(pid, 0)
    seconds = time.monotonic() - (listens if sent is None else sent)
    return End(os.waitstatus_to_exitcode(status), seconds, told, began)
