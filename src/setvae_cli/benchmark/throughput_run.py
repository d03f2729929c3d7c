"""Training speed of every contender and batch size, beside the machine's peak and the reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from statistics import median

import torch

from setvae_cli.benchmark.clock import Version, Visit, interleave, middle, timed
from setvae_cli.benchmark.contenders import LEAST_POOL, Contender, Where, Workload
from setvae_cli.benchmark.memory import added_memory_bytes
from setvae_cli.benchmark.one_by_one import OneByOneStep
from setvae_cli.benchmark.peak import MatmulPeak
from setvae_cli.benchmark.throughput_record import ThroughputRecord
from setvae_cli.data.batch import SetBatch
from setvae_cli.errors import InputError
from setvae_cli.settings.run import RunSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.machine import Machine, resolve

VISIT_SECONDS = 0.5
VISIT_SUBJECTS = 8
REFERENCE_SECONDS = 30.0  # at most, a model
REFERENCE_SHARE = 0.25  # of all seconds, at most
COMPILING_STEPS = 4  # at least; and every batch once, as each may ask for another compilation

Sink = Callable[[object], None]


@dataclass(frozen=True)
class Doing:
    """What is done now, and how far it is."""

    text: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Noted:
    """What a reader of the result should know."""

    text: str


@dataclass(frozen=True)
class Wanted:
    """What is measured, and for how long.

    Attributes:
        presets: Names of contenders.
        batches: Subjects a batch.
        where: Device, precision, threads.
        rounds: Most turns of each version.
        seconds: The rounds end after about so long.
        compiled: Whether compiled models are measured beside the plain ones.
    """

    presets: tuple[str, ...]
    batches: tuple[int, ...]
    where: Where = field(default_factory=Where)
    rounds: int = 7
    seconds: float = 300.0
    compiled: bool = False


@dataclass(frozen=True)
class _Model:
    """A contender at one batch size, and how it takes turns."""

    contender: Contender
    workload: Workload
    batch: int
    memory: int | None
    version: Version


@dataclass(frozen=True)
class _Reference:
    """The reference of a contender on so many threads, and how it takes turns."""

    preset: str
    threads: int
    version: Version


@dataclass(frozen=True)
class _Peak:
    """The machine's peak, and how it takes turns."""

    version: Version


_Entry = _Model | _Reference | _Peak


def measure(wanted: Wanted, store: Store, sink: Sink) -> list[ThroughputRecord]:
    """Measure every contender at every batch size.

    Args:
        wanted: What, and for how long.
        store: Prepared data.
        sink: Receives `Doing` and `Noted`.

    Returns:
        One record a contender, version and batch size.

    Raises:
        SettingsError: A GPU is asked for and there is none.
        InputError: The store has too few training subjects.
        RunError: A model cannot be compiled.
    """
    subjects, largest = len(store.split("train")), max(wanted.batches)
    if subjects < largest:
        raise InputError(
            f"the training split has {subjects} subjects, and a batch of {largest} is asked for",
            where=str(store.path),
            mend="give smaller --batches",
        )
    whole = whole_machine(wanted.where)
    peak = MatmulPeak(whole)
    with torch.random.fork_rng():
        entries = [
            entry
            for name in wanted.presets
            for entry in _entries(name, wanted, store, peak, whole, sink)
        ]
        versions = [entry.version for entry in entries]
        visits = interleave(
            versions,
            wanted.rounds,
            wanted.seconds,
            say=lambda name, done, total: sink(Doing(name, done, total)),
        )
    measured = list(zip(entries, visits, strict=True))
    _note_fewer_rounds(measured, wanted.rounds, sink)
    return _records(measured, whole)


def _note_fewer_rounds(
    measured: Sequence[tuple[_Entry, list[Visit]]], rounds: int, sink: Sink
) -> None:
    fewer: dict[str, list[str]] = {}
    for entry, visits in measured:
        if isinstance(entry, _Model) and len(visits) < rounds:
            own = fewer.setdefault(_name(entry.contender), [])
            own.append(f"{entry.batch} ({len(visits)})")
    if fewer:
        names = "; ".join(f"{name} at batch {', '.join(own)}" for name, own in fewer.items())
        sink(Noted(f"Fewer than {rounds} rounds, as --seconds ran out or would have: {names}."))


def whole_machine(where: Where) -> Machine:
    """The machine as the widest model uses it: its peak is measured so."""
    given = {key: value for key, value in vars(where).items() if value is not None}
    return resolve(RunSettings.model_validate(given), dim=1 << 16)


def _entries(
    name: str, wanted: Wanted, store: Store, peak: MatmulPeak, whole: Machine, sink: Sink
) -> Iterator[_Entry]:
    """The turns of one contender in a round: the peak, its batch sizes, the reference."""
    pool = max(*wanted.batches, LEAST_POOL)
    own_seconds = wanted.seconds / len(wanted.presets)
    share = (1 - REFERENCE_SHARE) * own_seconds / (len(wanted.batches) * (1 + wanted.compiled))
    contender = Contender(name, store, wanted.where)
    yield _Peak(Version("the machine's peak", peak.visit, 0.1, wanted.seconds))
    for compiled in (False, True)[: 1 + wanted.compiled]:
        own = Contender(name, store, wanted.where, compiled=True) if compiled else contender
        for size in wanted.batches:
            sink(Doing(f"warming up {_name(own)} at batch {size}"))
            yield _model(own, own.batches(size, pool), size, share)
    sink(Doing(f"warming up the reference of {name}"))
    seconds = min(REFERENCE_SECONDS, REFERENCE_SHARE * own_seconds)
    yield from _references(contender, contender.batches(1, pool), whole, seconds)


def _name(contender: Contender) -> str:
    return f"{contender.name}, compiled," if contender.compiled else contender.name


def _model(contender: Contender, batches: list[SetBatch], size: int, share: float) -> _Model:
    workload, machine = Workload(contender, batches), contender.machine
    with machine.computing():
        workload.warm_up(max(len(batches), COMPILING_STEPS) if contender.compiled else 1)
        began = time.perf_counter()
        memory = added_memory_bytes(workload.once, machine.device)
        step_seconds = time.perf_counter() - began
    least = -(-VISIT_SUBJECTS // size)

    def visit() -> Visit:
        with machine.computing():
            if step_seconds < VISIT_SECONDS:  # who came before left its own data in the caches
                workload.once()
            return timed(
                workload.once, machine.device, least_seconds=VISIT_SECONDS, least_times=least
            )

    expected = max(VISIT_SECONDS, least * step_seconds)
    version = Version(f"{_name(contender)} at batch {size}", visit, expected, share)
    return _Model(contender, workload, size, memory, version)


def _references(
    contender: Contender, subjects: list[SetBatch], whole: Machine, seconds: float
) -> Iterator[_Reference]:
    """The subject of middle length, with one thread and with all, on the CPU."""
    ordered = sorted(subjects, key=lambda batch: batch.plan.elements)
    batch = ordered[len(ordered) // 2]
    step = OneByOneStep(
        contender.untrained(),
        contender.settings,
        classes=contender.tasks.classes,
        sets_per_subject=contender.sets_per_subject,
    )

    def once() -> tuple[int, int]:
        step(batch)
        return batch.plan.elements, 0

    expected = timed(once, "cpu").seconds
    counts = sorted({1, whole.threads})
    share = max(seconds - expected, 0.0) / len(counts)
    for threads in counts:

        def visit(threads: int = threads) -> Visit:
            with replace(whole, threads=threads).computing():
                return timed(once, "cpu")

        name = f"the reference of {contender.name}"
        version = Version(name, visit, expected, share, least_visits=1)
        yield _Reference(contender.name, threads, version)


def _records(
    measured: Sequence[tuple[_Entry, list[Visit]]], whole: Machine
) -> list[ThroughputRecord]:
    peak = median(
        visit.flops / visit.seconds
        for entry, visits in measured
        if isinstance(entry, _Peak)
        for visit in visits
    )
    references = [
        (entry, median(_rates(visits)))
        for entry, visits in measured
        if isinstance(entry, _Reference)
    ]
    models = [(entry, visits) for entry, visits in measured if isinstance(entry, _Model)]
    alone = {
        (entry.contender.name, entry.contender.compiled): median(_rates(visits))
        for entry, visits in models
        if entry.batch == 1
    }
    records = []
    for entry, visits in models:
        name = entry.contender.name
        best = max((own for own in references if own[0].preset == name), key=itemgetter(1))
        first = alone.get((name, entry.contender.compiled))
        records.append(_record(entry, visits, peak, best, first, whole))
    return records


def _rates(visits: list[Visit]) -> list[float]:
    return [visit.elements / visit.seconds for visit in visits]


def _record(
    entry: _Model,
    visits: list[Visit],
    peak: float,
    best: tuple[_Reference, float],
    first: float | None,
    whole: Machine,
) -> ThroughputRecord:
    contender, workload = entry.contender, entry.workload
    rate, spread = middle(_rates(visits))
    flops = median(visit.flops / visit.seconds for visit in visits)
    reference, reference_rate = best
    return ThroughputRecord(
        preset=contender.name,
        compiled=contender.compiled,
        batch=entry.batch,
        elements_per_s=rate,
        spread=spread,
        rounds=len(visits),
        relative_speed=None if first is None else rate / first,
        peak_memory_mb=None if entry.memory is None else entry.memory / 1e6,
        matmul_gflops=peak / 1e9,
        gflops=flops / 1e9,
        share_of_peak=flops / peak,
        reference_elements_per_s=reference_rate,
        speedup=rate / reference_rate,
        padded_share=workload.padded_share,
        sets=workload.sets,
        elements=workload.elements,
        mflop_per_element=workload.flops / workload.elements / 1e6,
        parameters=sum(weight.numel() for weight in contender.model.parameters()),
        threads=contender.machine.threads,
        peak_threads=whole.threads,
        reference_threads=reference.threads,
        device=contender.machine.name if contender.machine.device == "cuda" else "cpu",
        precision=_precision(contender.machine),
        torch=torch.__version__,
    )


def _precision(machine: Machine) -> str:
    return "64" if machine.dtype == torch.float64 else machine.precision.removesuffix("-true")
