"""`setvae precompute`: raw events to a store; also verifies one and says what it holds."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setvae_cli import numbers
from setvae_cli.cli import options
from setvae_cli.cli.output import Output
from setvae_cli.errors import SettingsError, UsageError, placed
from setvae_cli.files import check_free, share_with_group
from setvae_cli.settings.command import (
    BenchmarkLoaderSettings,
    PrecomputeSettings,
    TrainSettings,
)

if TYPE_CHECKING:
    from setvae_cli.store.precompute import Summary
    from setvae_cli.store.reader import Store

MOST_CLASSES = 12  # of a label, that are listed


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, PrecomputeSettings, run)


def run(
    settings: PrecomputeSettings,
    output: Output,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every byte of the STORE given as DATA.")
    ] = False,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Say what the STORE given as DATA holds.")
    ] = False,
) -> None:
    """Prepare raw events once, as a store that every command reads.

    DATA is a folder, an archive or a table; its layout is recognised, or named with --source.
    With --verify or --inspect it is a store that was written before.
    """
    workers = _workers(settings.workers)
    share_with_group(settings.group_readable)
    if verify or inspect:
        _look(_needed(settings.data, "DATA"), output, workers, verify=verify)
    else:
        _write(settings, output, workers)


def _workers(given: str | None) -> int | str | None:
    """A number of processes, the address of a scheduler, or None: as many as are worth it."""
    if given is None or not given.isdecimal():
        return given
    options.check_workers("--workers", int(given))
    return int(given)


def _look(data: str, output: Output, workers: int | str | None, *, verify: bool) -> None:
    from setvae_cli.store import precompute, reader

    path = Path(data)
    if verify:
        reader.verify(path, workers=workers)
    summary = precompute.inspect(path)
    state = "verified" if verify else "not verified"
    output.result(store_table(summary, "store", state), plain(summary))


def _write(settings: PrecomputeSettings, output: Output, workers: int | str | None) -> None:
    out = Path(_needed(settings.out, "--out"))
    if settings.data is None and settings.source.source != "simulated":
        raise UsageError("no DATA given", mend="name the raw data, or use --source simulated")

    if settings.leaked_groups_file is not None:
        check_free(settings.leaked_groups_file, "file")
    from setvae_cli.allocator import keep_memory
    from setvae_cli.store.engines import KEPT_BYTES, warm_up

    warm_up(workers)
    from setvae_cli.sources.recognise import open_source
    from setvae_cli.store.precompute import precompute

    keep_memory(KEPT_BYTES)
    with placed(settings.data):
        summary = precompute(
            open_source(Path(settings.data) if settings.data else None, settings.source),
            settings.store,
            out,
            workers=workers,
            sink=Preparation(output),
            allow_long=settings.source.allow_long,
            leaked_to=settings.leaked_groups_file,
        )
    output.result(store_table(summary, "store written", "verified"), plain(summary))
    output.next(f"setvae train --data {shown(summary.path)}")


def _needed(value: Any, name: str) -> str:
    if value is None:
        raise SettingsError("is missing", where=name, mend="see setvae precompute --help")
    return str(value)


def store_to_train_on(settings: TrainSettings | BenchmarkLoaderSettings, output: Output) -> Store:
    """The store that `--data` names, or one made of what it names in the cache."""
    share_with_group(settings.run.group_readable)
    from setvae_cli.store.cache import CACHE, prepared

    if settings.run.device == "cuda":  # said before the data is prepared, not after
        from setvae_cli.training.machine import resolve

        resolve(settings.run, settings.model.dim)
    store = prepared(
        Path(settings.data) if settings.data is not None else None,
        settings.source,
        settings.store,
        settings.run.output_dir / CACHE,
        sink=Preparation(output),
        workers=None,
    )
    output.progress("starting", None, "")
    return store


class Preparation:
    """Shows how far the preparation of a store is, with its rate and the time left."""

    def __init__(self, output: Output, clock: Callable[[], float] = time.monotonic) -> None:
        self._output, self._clock = output, clock
        self._doing, self._started, self._before = "", clock(), 0

    def __call__(self, record: object) -> None:
        """Show one record; of a store that went into the cache, what was dropped."""
        from setvae_cli.store.precompute import PrepareProgress, Summary

        if isinstance(record, Summary) and record.drops:
            self._output.end_progress()
            for line in [*_drops(record.drops), ""]:
                self._output.say(line)
        if not isinstance(record, PrepareProgress):
            return
        if record.doing != self._doing:
            self._doing, self._started, self._before = record.doing, self._clock(), record.rows
        seconds = self._clock() - self._started
        share = record.done / record.total if record.total else None
        rows = record.rows - self._before
        tail = [f"{numbers.count(rows / seconds)} rows/s"] if rows and seconds > 0 else []
        if share and seconds > 1:
            tail.append(f"{numbers.clock(seconds * (1 / share - 1))} left")
        self._output.progress(record.doing, share, "  ".join(tail))


def store_table(summary: Summary, place: str, state: str) -> list[str]:
    """Splits, what was dropped and why, and where the store is.

    Args:
        summary: The store in numbers.
        place: What the last line says before the path, such as "store written".
        state: What is known of its bytes.
    """
    alone = len(summary.tasks) == 1
    called = ("positive" if size == 2 else "not class 0" for size in summary.classes.values())
    heads = tuple(called) if alone else summary.tasks
    rows = [("split", "subjects", "sets", "elements", *heads)]
    for name, split in summary.splits.items():
        shares = [split.positive.get(task) for task in summary.tasks]
        positive = ["n/a" if share is None else numbers.percent(share) for share in shares]
        sizes = map(numbers.short_count, (split.sets, split.elements))
        rows.append((name, numbers.count(split.subjects), *sizes, *positive))
    last = f"{place}: {shown(summary.path)} ({numbers.size(summary.bytes)}, {state})"
    return [*numbers.aligned(rows), *_classes(summary), *_drops(summary.drops), last]


def _classes(summary: Summary) -> list[str]:
    """What the classes of labels that were given as texts are called, wrapped to 80 columns."""
    lines = []
    for task, names in summary.class_names.items():
        listed = ", ".join(f"{n} {name}" for n, name in enumerate(names[:MOST_CLASSES]))
        more = f" and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
        lines += textwrap.wrap(f"{task}: {listed}{more}", 80, subsequent_indent="  ")
    return lines


def _drops(drops: dict[str, int]) -> list[str]:
    """Reasons by their counts, wrapped to 80 columns."""
    if not drops:
        return []
    reasons = ", ".join(f"{numbers.count(n)} {reason}" for reason, n in drops.items())
    total = sum(drops.values())
    rows = f"{numbers.count(total)} {'row' if total == 1 else 'rows'}"
    return textwrap.wrap(f"dropped {rows}: {reasons}", 80, subsequent_indent="  ")


def shown(path: Path) -> str:
    """A path relative to where the person stands, when it lies below."""
    below = path.is_absolute() and path.is_relative_to(Path.cwd())
    return os.path.relpath(path) if below else str(path)


def plain(summary: Summary) -> dict[str, Any]:
    """The same numbers for --json."""
    splits = {name: counts.model_dump() for name, counts in summary.splits.items()}
    told = {"path": shown(summary.path), "splits": splits, "tasks": summary.tasks}
    return asdict(summary) | told
