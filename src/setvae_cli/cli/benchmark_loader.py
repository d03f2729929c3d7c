"""`setvae benchmark-loader`: which loader settings suit this data and this machine."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from setvae_cli import numbers
from setvae_cli.cli import options
from setvae_cli.cli.output import Output
from setvae_cli.errors import placed
from setvae_cli.settings.command import BenchmarkLoaderSettings

if TYPE_CHECKING:
    from setvae_cli.benchmark.loader_record import LoaderRecord

MARK = "  <- best"


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, BenchmarkLoaderSettings, run)


def run(settings: BenchmarkLoaderSettings, output: Output) -> None:
    """Time the training loader over numbers of workers, and recommend one.

    Configurations run interleaved, several times each, after an unmeasured pass. Times leave the
    first batch of a pass out; it has a column of its own. Options of setvae train are accepted
    too, so that its --config file can be given here.
    """
    for count in settings.loader.num_workers or ():
        options.check_workers("--num-workers", count)
    if settings.loader.max_elements_per_batch and "batch_size" in settings.loader.model_fields_set:
        output.warn("--batch-size has no effect: --max-elements-per-batch fills batches")
    if settings.data is None:
        subjects = numbers.count(settings.source.subjects)
        output.say(f"No --data: measuring on the built-in simulated cohort ({subjects} subjects).")
        output.say()
    records = _measured(settings, output)
    output.result(table(records), [asdict(record) for record in records])
    _say_next(settings, output, [record for record in records if record.best])


def _say_next(
    settings: BenchmarkLoaderSettings, output: Output, best: Sequence[LoaderRecord]
) -> None:
    """Name the training that follows; raw input has options that are better not repeated here."""
    from setvae_cli.store.cache import is_store

    if settings.data is not None and not is_store(Path(settings.data)):
        return
    words = ["setvae train", f"--data {shlex.quote(settings.data)}" if settings.data else ""]
    if len({record.workers for record in best}) == 1:
        words.append(f"--num-workers {best[0].workers}")
    if settings.loader.max_elements_per_batch:
        words.append(f"--max-elements-per-batch {settings.loader.max_elements_per_batch}")
    elif len(best) == 1:
        words.append(f"--batch-size {best[0].batch_size}")
    output.next(" ".join(filter(None, words)))


def _measured(settings: BenchmarkLoaderSettings, output: Output) -> tuple[LoaderRecord, ...]:
    from setvae_cli.cli.precompute import store_to_train_on

    store = store_to_train_on(settings, output)
    from setvae_cli.benchmark.loader import benchmark_loader

    with placed(settings.data):
        return benchmark_loader(settings, store, BenchmarkView(output))


class BenchmarkView:
    """Shows what is measured and how far it is."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __call__(self, record: object) -> None:
        """Show one record."""
        from setvae_cli.benchmark.loader import BenchmarkStarted, Measuring

        match record:
            case BenchmarkStarted():
                self._output.end_progress()
                self._output.facts(
                    (name, told) for name, told in asdict(record).items() if told is not None
                )
            case Measuring():
                tail = f"pass {record.done + 1} of {record.total}"
                self._output.progress(record.doing, record.done / record.total, tail)


def table(records: Sequence[LoaderRecord]) -> list[str]:
    """One line a configuration, then why the best are the best, the bottleneck, and advice."""
    several = len({record.batch_size for record in records}) > 1
    rows = [_row(record, several) for record in records]
    lines = numbers.aligned([_heads(several), *rows])
    marks = ["", *(MARK if record.best else "" for record in records)]
    lines = [line + mark for line, mark in zip(lines, marks, strict=True)]
    for record in records:
        if record.best:
            for said in _findings(record):
                told = f"Batch {record.batch_size}: {said[:1].lower()}{said[1:]}"
                lines += textwrap.wrap(told if several else said, 80, subsequent_indent="  ")
    return lines


def _findings(record: LoaderRecord) -> list[str]:
    """Sentences about a best configuration; where the model is slower, that is its reason."""
    from setvae_cli.benchmark.loader_advice import bottleneck

    noun = "worker" if record.workers == 1 else "workers"
    slower = record.step_ms is not None and record.step_ms > record.avg_total_ms
    reason = None if slower else f"{record.workers} {noun}: {record.reason}."
    return [said for said in (reason, bottleneck(record), *record.advice) if said]


def _heads(several: bool) -> tuple[str, ...]:
    batch = ("batch", "first") if several else ("first batch",)
    return ("workers", "cache", *batch, "p50", "p95", "elements/s", "memory")


def _row(record: LoaderRecord, several: bool) -> tuple[str, ...]:
    from setvae_cli.benchmark.loader_advice import milliseconds

    batch = (str(record.batch_size),) if several else ()
    times = map(milliseconds, (record.first_batch_ms, record.p50_ms, record.p95_ms))
    rate, memory = numbers.count(record.elements_per_s), f"+{record.uss_mb:.0f} MB"
    return (f"{record.workers:>4}", record.cache, *batch, *times, rate, memory)
