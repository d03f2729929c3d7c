"""The training loader compared over workers, page cache and batch sizes.

    warm-up, not recorded -> round 1: every configuration once -> round 2: the same, turned -> ...

Configurations are interleaved, so that none of them warms caches for the next, and what the machine
does beside them meets all of them alike. A pass opens the store anew: nothing of an earlier pass is
mapped, so a cold pass begins without the shards in the page cache, as the first epoch of a run may.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import torch

from setvae_cli.benchmark import page_cache
from setvae_cli.benchmark.loader_advice import recommend
from setvae_cli.benchmark.loader_pass import Bench
from setvae_cli.benchmark.loader_record import (
    Cache,
    Configuration,
    LoaderRecord,
    LoadPass,
    summarise,
)
from setvae_cli.errors import SettingsError
from setvae_cli.settings.command import BenchmarkLoaderSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.machine import resolve
from setvae_cli.training.tasks import describe_data, tasks_of

MOST_WORKERS = 8  # tried by default
KEPT = 0.05  # share of the shards that may stay in the page cache of a cold pass unsaid

Sink = Callable[[object], None]
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkStarted:
    """What is measured and where, each in one line.

    Attributes:
        data, machine, passes: Of every benchmark.
        model: Whose steps are timed; None: no model's.
    """

    data: str
    machine: str
    passes: str
    model: str | None


@dataclass(frozen=True)
class Measuring:
    """A pass begins.

    Attributes:
        doing: Which.
        done, total: Passes.
    """

    doing: str
    done: int
    total: int


@dataclass(frozen=True)
class Steps:
    """A pass of training steps at one batch size."""

    batch_size: int


def benchmark_loader(
    settings: BenchmarkLoaderSettings, store: Store, sink: Sink
) -> tuple[LoaderRecord, ...]:
    """Measure every configuration that settings name.

    Args:
        settings: Of the command.
        store: Prepared data.
        sink: Receives `BenchmarkStarted` and `Measuring`.

    Returns:
        One record a configuration, by batch size, cache and workers, the best ones marked.

    Raises:
        SettingsError: A batch holds the whole training split, cold passes are asked for where the
            page cache cannot be emptied, or a GPU where there is none.
        InputError: The store cannot carry a training run.
    """
    if settings.measure.cache != "warm" and not page_cache.can_drop():
        raise SettingsError(
            "this system cannot drop files from its page cache",
            where=f"--cache {settings.measure.cache}",
            mend="measure with --cache warm",
        )
    machine = resolve(settings.run, settings.model.dim)
    tasks = tasks_of(settings.objective, store, store.split("train"))
    configurations = tried(settings, usable_cores=len(os.sched_getaffinity(0)))
    bench = Bench(settings, store, tasks, machine)
    sink(
        BenchmarkStarted(
            data=describe_data(store, tasks, reads_labels=settings.objective.has("joint")),
            machine=f"{len(os.sched_getaffinity(0))} cores, {machine.name}",
            passes=_describe(settings, configurations),
            model=bench.model if settings.measure.with_model else None,
        )
    )
    with machine.computing(), torch.random.fork_rng():
        loads, steps = _measure(bench, settings, configurations, sink)
    records = [
        summarise(one, loads[one], device=machine.device, step_ms=steps.get(one.batch_size))
        for one in configurations
    ]
    _say_what_stayed(records)
    return recommend(records)


def tried(settings: BenchmarkLoaderSettings, *, usable_cores: int) -> tuple[Configuration, ...]:
    """All configurations, by batch size, cache and workers."""
    workers = settings.loader.num_workers
    if workers is None:
        most = min(usable_cores, MOST_WORKERS)
        workers = (0, *(2**power for power in range(most.bit_length())))
    asked = settings.measure.cache
    caches: tuple[Cache, ...] = ("warm", "cold") if asked == "both" else (asked,)
    return tuple(
        Configuration(count, cache, size)
        for size in settings.loader.batch_size
        for cache in caches
        for count in workers
    )


def rounds(kinds: Sequence[T], repeats: int) -> Iterator[tuple[T, ...]]:
    """Every kind of pass once a round; each round begins with the next kind and turns around.

    >>> list(rounds("abc", 3))
    [('a', 'b', 'c'), ('b', 'a', 'c'), ('c', 'a', 'b')]
    """
    for number in range(repeats):
        first = number % len(kinds)
        head, *rest = (*kinds[first:], *kinds[:first])
        yield (head, *(reversed(rest) if number % 2 else rest))


def _describe(settings: BenchmarkLoaderSettings, configurations: Sequence[Configuration]) -> str:
    number, measure = len(configurations), settings.measure
    kinds = "1 configuration" if number == 1 else f"{number} configurations, interleaved"
    return f"{kinds}, {measure.repeats} x {measure.num_batches} batches each"


def _measure(
    bench: Bench,
    settings: BenchmarkLoaderSettings,
    configurations: tuple[Configuration, ...],
    sink: Sink,
) -> tuple[dict[Configuration, list[LoadPass]], dict[int, float]]:
    """Passes by configuration, and the median step by batch size where a model is timed."""
    sizes, with_model = settings.loader.batch_size, settings.measure.with_model
    kinds: list[Configuration | Steps] = list(configurations)
    kinds += [Steps(size) for size in sizes if with_model]
    total = len(kinds) * settings.measure.repeats
    sink(Measuring("warming up", 0, total))
    expected = {size: bench.count(size) for size in sizes}
    for one in {one.workers: one for one in configurations}.values():
        bench.warm_up(one, expected[one.batch_size])
    for size in sizes if with_model else ():
        bench.steps(expected[size])
    loads: dict[Configuration, list[LoadPass]] = defaultdict(list)
    steps: dict[int, list[float]] = defaultdict(list)
    done = 0
    for round_ in rounds(kinds, settings.measure.repeats):
        for kind in round_:
            sink(Measuring(_doing(kind), done, total))
            if isinstance(kind, Steps):
                steps[kind.batch_size] += bench.steps(expected[kind.batch_size])
            else:
                loads[kind].append(bench.load(kind, expected[kind.batch_size]))
            done += 1
    return loads, {size: median(times) for size, times in steps.items()}


def _doing(kind: Configuration | Steps) -> str:
    if isinstance(kind, Steps):
        return "training steps"
    noun = "worker" if kind.workers == 1 else "workers"
    return f"{kind.workers} {noun}, {kind.cache}"


def _say_what_stayed(records: Sequence[LoaderRecord]) -> None:
    """Cold is what the system makes of a request; say how far it followed."""
    cold = [record.cached_share for record in records if record.cache == "cold"]
    known = [share for share in cold if share is not None]
    if len(known) < len(cold):
        _log.warning("cold: the system was asked to drop the store's files; it does not say if so")
    elif known and max(known) > KEPT:
        _log.warning(
            "cold: the system kept %.0f %% of the store's files in its page cache, so cold "
            "figures are too good",
            100 * max(known),
        )
