"""`python -m setvae_cli.benchmark.preparation`: how fast raw events become a store, by size.

Each size, source and number of workers takes turns, each time in a process of its own, so that its
memory is that of this run and of its workers only. Tables are made from the built-in cohort.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from setvae_cli import numbers
from setvae_cli.benchmark.preparation_run import Case, PreparationRecord, measure
from setvae_cli.benchmark.program import Parser, catch_signals, count, counts, guard

PROGRAM = "python -m setvae_cli.benchmark.preparation"
SOURCES = ("simulated", "parquet")
ELEMENTS_A_SUBJECT = 322  # of the built-in cohort, about
NOTES = """\
elements/s: median of the rounds, start of the program included. a core: over
the cores that its workers can use. memory: highest sum over all its processes,
sampled every 50 ms, a page that several of them share counted once. slope:
ratio of times over ratio of elements to the next smaller size; 1: linear."""


def report(records: Sequence[PreparationRecord]) -> str:
    """The table, then what its words mean."""
    rows = [("source", "workers", "elements", "seconds", "elements/s", "a core", "memory", "slope")]
    rows += [
        (
            one.source,
            str(one.workers),
            numbers.count(one.elements),
            f"{one.seconds:.2f}",
            f"{one.elements_per_s / 1e6:.2f} M",
            f"{one.elements_per_s_per_core / 1e6:.2f} M",
            f"{one.peak_memory_mb:.0f} MB",
            "" if one.slope is None else f"{one.slope:.2f}",
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
        cases = [
            Case(source, max(20, round(elements / ELEMENTS_A_SUBJECT)), workers)
            for elements in asked.elements
            for source in asked.source
            for workers in asked.workers
        ]
        with tempfile.TemporaryDirectory(prefix="setvae-preparation-", dir=asked.scratch) as folder:
            records = measure(cases, asked.rounds, Path(folder))
        plain = json.dumps([asdict(record) for record in records], indent=2)
        sys.stdout.write((plain if asked.json else report(records)) + "\n")

    return guard(PROGRAM, body, _say)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--elements", type=_sizes, default=(1e6, 5e6), metavar="SIZES",
        help="elements to prepare, about; default: 1e6,5e6")  # fmt: skip
    add("--source", type=_sources, default=SOURCES, metavar="NAMES",
        help=f"of {','.join(SOURCES)}; default: both")  # fmt: skip
    add("--workers", type=counts, default=(1, 2), metavar="COUNTS",
        help="processes; default: 1,2")  # fmt: skip
    add("--rounds", type=count, default=3, metavar="N", help="turns of each; default: 3")
    add("--scratch", type=_folder, metavar="DIR",
        help="where all is written and removed; default: the temporary folder")  # fmt: skip
    add("--json", action="store_true", help="print a list of records")
    return parser


def _sizes(text: str) -> tuple[float, ...]:
    try:
        sizes = sorted({float(part) for part in text.split(",")})
    except ValueError:
        sizes = [0.0]
    if not 1 <= sizes[0] <= sizes[-1] <= 1e9:
        raise argparse.ArgumentTypeError(f"expected sizes from 1 to 1e9, got {text!r}")
    return tuple(sizes)


def _sources(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    unknown = [name for name in names if name not in SOURCES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown source {unknown[0]!r}, expected some of {','.join(SOURCES)}"
        )
    return names


def _folder(text: str) -> Path:
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no folder")
    return Path(text)


if __name__ == "__main__":
    catch_signals()
    sys.exit(main())
