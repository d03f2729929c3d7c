"""`python -m setvae_cli.benchmark.curves`: how fast a long log is read, joined and drawn.

Each program takes its turn in a process of its own, start included, on the logs of a resumed run:
`setvae analyze-curves`, its reader of event files alone, and TensorBoard's EventAccumulator when it
is told to keep every scalar.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from setvae_cli import numbers
from setvae_cli.benchmark.curves_log import LAYOUTS, Layout, write_log
from setvae_cli.benchmark.preparation_run import highest_memory
from setvae_cli.benchmark.program import Parser, catch_signals, count, guard
from setvae_cli.errors import RunError

PROGRAM = "python -m setvae_cli.benchmark.curves"
THEIRS = "EventAccumulator"
PROGRAMS = {
    "analyze-curves": (
        "import sys; from setvae_cli.cli.app import main;"
        "sys.argv[1:] = ['analyze-curves', sys.argv[1], '--save-dir', sys.argv[2], '--quiet'];"
        "raise SystemExit(main())"
    ),
    "read and join": (
        "import sys; from pathlib import Path; from setvae_cli.reports.curves.joined import join;"
        "from setvae_cli.reports.events import read;"
        "join([read(path) for path in sorted(Path(sys.argv[1]).glob('events.*'))])"
    ),
    THEIRS: (
        "import sys; from tensorboard.backend.event_processing import event_accumulator as theirs;"
        "log = theirs.EventAccumulator(sys.argv[1], size_guidance={theirs.SCALARS: 0});"
        "log.Reload(); [log.Scalars(tag) for tag in log.Tags()['scalars']]"
    ),
}
NOTES = """\
seconds: median of the rounds, start of the program included. memory: highest
of any round, sampled every 50 ms. faster: EventAccumulator's seconds over
these. analyze-curves draws and writes as well, and of a run of setvae it reads
metrics.jsonl; the two others read event files only."""


@dataclass(frozen=True)
class CurvesRecord:
    """One program on one log, measured.

    Attributes:
        log: Who wrote it.
        program: What was run.
        scalars: In the event files.
        seconds: Median over the rounds.
        peak_memory_mb: Highest of any round, 1e6 bytes.
        times_faster: EventAccumulator's seconds over these.
    """

    log: Layout
    program: str
    scalars: int
    seconds: float
    peak_memory_mb: float
    times_faster: float


def measure(scalars: int, rounds: int, folder: Path) -> list[CurvesRecord]:
    """Let programs take turns on the logs of both layouts.

    Args:
        scalars: In the event files of each, about.
        rounds: Turns of each program.
        folder: Where logs are written.

    Raises:
        RunError: A program failed.
    """
    records = []
    for layout in LAYOUTS:
        log = folder / layout
        write_log(layout, scalars, log)
        turns = [(name, *_run(name, log)) for _ in range(rounds) for name in PROGRAMS]
        seconds = {n: median(s for other, s, _ in turns if other == n) for n in PROGRAMS}
        for name in PROGRAMS:
            memory = max(used for other, _, used in turns if other == name) / 1e6
            faster = seconds[THEIRS] / seconds[name]
            records.append(CurvesRecord(layout, name, scalars, seconds[name], memory, faster))
    return records


def _run(name: str, log: Path) -> tuple[float, int]:
    """Run a program once: seconds, and highest memory in bytes.

    Raises:
        RunError: It failed.
    """
    call = [sys.executable, "-c", PROGRAMS[name], str(log), str(log.with_name("out"))]
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        child = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=said)
        try:
            memory = highest_memory(child)
        finally:
            child.kill()
            child.wait()
        seconds = time.perf_counter() - began
        said.seek(0)
        if child.returncode:
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise RunError(f"{name} failed: {' '.join(last)}")
    return seconds, memory


def report(records: Sequence[CurvesRecord]) -> str:
    """The table, then what its words mean."""
    rows = [("log of", "program", "scalars", "seconds", "memory", "faster")]
    rows += [
        (
            one.log,
            one.program,
            numbers.count(one.scalars),
            f"{one.seconds:.2f}",
            f"{one.peak_memory_mb:.0f} MB",
            f"{one.times_faster:.1f}x",
        )
        for one in records
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in rows]
    return "\n".join([*lines, NOTES])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its result.

    Args:
        arguments: Of the command line; None: this process's.

    Returns:
        The exit status, as `guard` has it.
    """

    def body() -> None:
        asked = _parser().parse_args(arguments)
        with tempfile.TemporaryDirectory(prefix="setvae-curves-", dir=asked.scratch) as folder:
            records = measure(asked.scalars, asked.rounds, Path(folder))
        plain = json.dumps([asdict(record) for record in records], indent=2)
        sys.stdout.write((plain if asked.json else report(records)) + "\n")

    return guard(PROGRAM, body, _say)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--scalars", type=count, default=1_000_000, metavar="N",
        help="scalars in the event files of a log, about; default: 1000000")  # fmt: skip
    add("--rounds", type=count, default=3, metavar="N", help="turns of each; default: 3")
    add("--scratch", type=_folder, metavar="DIR",
        help="where all is written and removed; default: the temporary folder")  # fmt: skip
    add("--json", action="store_true", help="print a list of records")
    return parser


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder")
    return Path(text)


if __name__ == "__main__":
    catch_signals()
    sys.exit(main())
