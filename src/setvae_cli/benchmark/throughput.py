"""`python -m setvae_cli.benchmark.throughput`: how fast this machine trains, as ratios of one run.

Every preset and batch size takes turns with the machine's own peak and with the reference that
handles one set at a time; medians over rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from setvae_cli.benchmark.contenders import CONTENDERS, Where
from setvae_cli.benchmark.flops import FORMULA
from setvae_cli.benchmark.program import Parser, catch_signals, count, counts, guard
from setvae_cli.benchmark.throughput_record import ThroughputRecord, table
from setvae_cli.benchmark.throughput_run import Doing, Noted, Wanted, measure, whole_machine
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.store.cache import prepared
from setvae_cli.store.reader import Store
from setvae_cli.training.tasks import describe_data, predicted_tasks

PROGRAM = "python -m setvae_cli.benchmark.throughput"
WIDTH = 80
PLAIN_SECONDS = 60.0
NOTES = (
    "elements/s: forward, backward and optimizer, median of the rounds. spread: fastest minus "
    "slowest round over the median. relative: to batch 1. memory: what a step adds to model, "
    "optimizer and batch. padded: share of attention's work on padded cells. of peak: work of the "
    "model a second over the machine's peak. speedup: over the reference, one subject, one set at "
    "a time, on the CPU."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its result.

    Args:
        arguments: Of the command line; None: this process's.

    Returns:
        The exit status, as `guard` has it.
    """
    screen = _Screen()
    warnings = _Warnings(screen)
    logging.getLogger("setvae_cli").addHandler(warnings)

    def body() -> None:
        asked = _parser().parse_args(arguments)
        with tempfile.TemporaryDirectory(prefix="setvae-throughput-") as folder:
            _run(asked, Path(folder), screen)

    try:
        return guard(PROGRAM, body, lambda line: screen.say(line, wrap=False))
    finally:
        logging.getLogger("setvae_cli").removeHandler(warnings)


def _run(asked: argparse.Namespace, folder: Path, screen: _Screen) -> None:
    where = Where(asked.device, asked.precision, asked.threads)
    wanted = Wanted(
        presets=asked.presets,
        batches=asked.batches,
        where=where,
        rounds=asked.rounds,
        seconds=asked.seconds,
        compiled=asked.compile_model,
    )
    machine = whole_machine(where)
    store = _store(asked.data, folder, screen)
    screen.say(f"data     {describe_data(store, predicted_tasks(store, 1.0))}")
    screen.say(f"machine  {machine.describe(0)}, torch {torch.__version__}")
    records = measure(wanted, store, screen)
    screen.clear()
    if asked.json:
        screen.say(FORMULA)
        document = json.dumps([asdict(record) for record in records], indent=2, allow_nan=False)
        sys.stdout.write(document + "\n")
    else:
        sys.stdout.write("\n".join(_report(records)) + "\n")


def _report(records: Sequence[ThroughputRecord]) -> list[str]:
    """The table, then what its words mean."""
    one = records[0]
    peak = (
        f"The machine's peak is {one.matmul_gflops:.0f} GFLOP/s "
        f"(4096 x 1024 by 1024 x 1024, {one.device}, precision {one.precision}, "
        f"{'1 thread' if one.peak_threads == 1 else f'{one.peak_threads} threads'})."
    )
    sentences = (peak, FORMULA + ".", NOTES)
    return [*table(records), *(line for text in sentences for line in _wrapped(text))]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _store(data: str | None, folder: Path, screen: _Screen) -> Store:
    """The store that was named, or one of the built-in cohort in a temporary folder."""
    if data is None:
        screen.say("No --data: the built-in simulated cohort.")
        screen(Doing("preparing the data"))
    return prepared(
        None if data is None else Path(data),
        SourceSettings(),
        StoreSettings(),
        folder / "cache",
        sink=lambda record: None,
        workers=None,
    )


class _Screen:
    """What is not the result: on a terminal one line that is redrawn, else a line a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last = clock, clock()
        self._drawn = False

    def __call__(self, record: object) -> None:
        """Show a record of the measurement."""
        match record:
            case Noted():
                self.say(record.text)
            case Doing():
                of = "" if record.total is None else f" ({record.done}/{record.total})"
                self._progress(record.text + of)

    def say(self, text: str, *, wrap: bool = True) -> None:
        """Say it on stderr."""
        self.clear()
        sys.stderr.write("\n".join(_wrapped(text) if wrap else [text]) + "\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the progress line away."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False

    def _progress(self, text: str) -> None:
        if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            columns = shutil.get_terminal_size().columns
            sys.stderr.write("\r\x1b[K" + text[: columns - 1])
            sys.stderr.flush()
            self._drawn = True
        elif self._clock() - self._last >= PLAIN_SECONDS:
            self._last = self._clock()
            self.say(text)


class _Warnings(logging.Handler):
    """Each warning of the library once: every model that is built says the same."""

    def __init__(self, screen: _Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        message = record.getMessage()
        if message not in self._said:
            self._said.add(message)
            self._screen.say(f"warning: {message}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--presets", type=_presets, default=tuple(CONTENDERS), metavar="NAMES",
        help=f"models to compare, of {','.join(CONTENDERS)}; default: all")  # fmt: skip
    add("--batches", type=counts, default=(1, 4, 8, 16, 32, 64), metavar="SIZES",
        help="subjects a batch; default: 1,4,8,16,32,64")  # fmt: skip
    add("--data", metavar="STORE", help="a store or raw events; default: the built-in cohort")
    add("--threads", type=count, metavar="N",
        help="threads of CPU maths; default: 1 for narrow models, else all cores")  # fmt: skip
    add("--rounds", type=count, default=7, metavar="N",
        help="turns of each model and batch size; default: 7, fewer for slow ones")  # fmt: skip
    add("--seconds", type=_seconds, default=300.0, metavar="S",
        help="the rounds end after about so long; default: 300")  # fmt: skip
    add("--device", choices=("auto", "cpu", "cuda"), help="where to train; default: auto")
    add("--precision", choices=("auto", "32", "bf16-mixed", "64"),
        help="auto: bf16-mixed on a GPU that has it, else 32")  # fmt: skip
    add("--compile-model", action="store_true", help="measure compiled models beside plain ones")
    add("--json", action="store_true", help="print a list of records")
    return parser


def _presets(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"unknown preset {unknown[0] if unknown else text!r}, "
            f"expected some of {','.join(CONTENDERS)}"
        )
    return names


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value


if __name__ == "__main__":
    catch_signals()
    sys.exit(main())
