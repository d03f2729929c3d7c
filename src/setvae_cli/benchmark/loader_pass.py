"""One pass of the loader that training uses, or of training steps on the batches it gives."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from setvae_cli.benchmark import page_cache
from setvae_cli.benchmark.loader_record import Configuration, LoadPass
from setvae_cli.benchmark.memory import private_memory_bytes
from setvae_cli.benchmark.step import TrainingStep
from setvae_cli.data.batch import SetBatch
from setvae_cli.data.datamodule import EpochLoader, SetDataModule
from setvae_cli.errors import SettingsError
from setvae_cli.runs.model import build_untrained
from setvae_cli.settings.command import BenchmarkLoaderSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.machine import Machine
from setvae_cli.training.tasks import Tasks, cuts_of, slicing_of

STEP_BATCHES, STEP_SECONDS = 5, 5.0  # a pass of steps ends with whichever comes first
WARM_UP_BATCHES = 2


@dataclass(frozen=True)
class Expected:
    """What every pass of one batch size gives, counted once.

    Attributes:
        batches: Batches timed, after the first.
        bytes: Size of the tensors of these batches.
        samples: The first batches, for training steps.
    """

    batches: int
    bytes: int
    samples: tuple[SetBatch, ...]


class Bench:
    """Runs passes on one store with one model's demands on its batches.

    Args:
        settings: Of the command.
        store: Only its path and its tables are used; a pass opens it anew.
        tasks: Labels that training would predict.
        machine: Where batches go.
    """

    def __init__(
        self, settings: BenchmarkLoaderSettings, store: Store, tasks: Tasks, machine: Machine
    ) -> None:
        self._settings, self._tasks, self._machine = settings, tasks, machine
        self._path = store.path
        self._shards = [store.shard_path(i) for i in np.unique(store.columns.shard).tolist()]
        some = settings.training(settings.loader.batch_size[0], 0)
        model = build_untrained(
            some,
            store.vocabulary,
            classes=tasks.classes,
            set_size_p99=store.shape.set_size_p99,
            time_scale=store.shape.time_scale,
        ).to(machine.device, machine.dtype)
        self.model = model.description()
        self._plan_sets = model.needs_set_plan
        self._step: TrainingStep | None = None
        if settings.measure.with_model:
            self._step = TrainingStep(
                model,
                some,
                classes=tasks.classes,
                sets_per_subject=max(store.shape.sets_per_subject, 1.0),
                machine=machine,
            )

    def count(self, batch_size: int) -> Expected:
        """Load what a pass loads, unmeasured, in this process.

        Raises:
            SettingsError: One batch holds the whole training split.
        """
        loader = self._open(batch_size, 0)
        batches = min(self._settings.measure.num_batches, len(loader) - 1)
        if batches < 1:
            budget = self._settings.loader.max_elements_per_batch
            raise SettingsError(
                "one batch holds the whole training split, so that none follows the first",
                where="--batch-size" if budget is None else "--max-elements-per-batch",
                mend="choose a smaller one",
            )
        size = 0
        samples: list[SetBatch] = []
        for number, batch in enumerate(islice(loader, batches + 1)):
            if len(samples) < STEP_BATCHES and self._step:
                samples.append(batch)
            if number:
                size += tensor_bytes(batch)
        return Expected(batches, size, tuple(samples))

    def warm_up(self, configuration: Configuration, expected: Expected) -> None:
        """Start the workers of a configuration once, unmeasured."""
        self._timed(configuration, min(WARM_UP_BATCHES, expected.batches))

    def load(self, configuration: Configuration, expected: Expected) -> LoadPass:
        """Time a pass over the first batches of an epoch; a cold one begins without the shards."""
        gc.collect()  # unmaps the shards of earlier passes, else their pages could not be dropped
        if configuration.cache == "cold":
            page_cache.drop(self._shards)
        elif (page_cache.cached_share(self._shards) or 0.0) < 1:
            page_cache.fill(self._shards)
        cached = page_cache.cached_share(self._shards)
        timed = self._timed(configuration, expected.batches)
        return replace(timed, bytes=expected.bytes, cached_share=cached)

    def steps(self, expected: Expected) -> list[float]:
        """Milliseconds of training steps on the first batches of a pass."""
        assert self._step is not None
        spent: list[float] = []
        for batch in expected.samples:
            moved = batch.to(self._machine.device)
            if self._machine.dtype == torch.float64:
                moved = moved.double()
            began = _now(self._machine.device)
            self._step(moved)
            spent.append(1000 * (_now(self._machine.device) - began))
            if sum(spent) > 1000 * STEP_SECONDS:
                break
        return spent

    def _timed(self, configuration: Configuration, batches: int) -> LoadPass:
        """A loader that is opened and timed; its workers end with it."""
        with _only_said_once():
            loader = self._open(configuration.batch_size, configuration.workers)
            try:
                return _time(loader, batches, self._machine.device, self._path)
            finally:
                loader.stop_workers()

    def _open(self, batch_size: int, workers: int) -> EpochLoader:
        """The training loader, as training makes it, on a store that nothing has touched."""
        settings = self._settings.training(batch_size, workers)
        store = Store.open(self._path)
        data = SetDataModule(
            store,
            store.vocabulary,
            settings.loader,
            tasks=self._tasks.names,
            seed=settings.run.seed,
            hide_rate=settings.model.input_dropout,
            plan_sets=self._plan_sets,
            cuts=cuts_of(settings.objective, store, store.shape.time_scale),
            slicing=slicing_of(settings.objective, settings.loader),
        )
        return data.train_dataloader()


def _time(loader: EpochLoader, count: int, device: str, path: Path) -> LoadPass:
    """Time the first batch, and then some more; nothing else happens between them."""
    others = {child.pid for child in multiprocessing.active_children()}
    before = _own_bytes(None, path)
    load, transfer, subjects, elements = [], [], 0, 0
    began = time.perf_counter()
    batches = iter(loader)
    first = next(batches)
    waited = time.perf_counter() - began
    first.to(device)
    for _ in range(count):
        asked = time.perf_counter()
        batch = next(batches)
        loaded = time.perf_counter()
        load.append(1000 * (loaded - asked))
        transfer.append(1000 * _moving(batch, device, loaded))
        subjects, elements = subjects + batch.plan.subjects, elements + batch.plan.elements
    workers = [c.pid for c in multiprocessing.active_children() if c.pid not in others]
    own = [_own_bytes(pid, path) for pid in workers] or [_own_bytes(None, path) - before]
    mean = max(0.0, float(np.mean(own)))
    return LoadPass(
        first_ms=1000 * waited,
        load_ms=tuple(load),
        transfer_ms=tuple(transfer),
        subjects=subjects,
        elements=elements,
        uss_mb=mean / 1e6,
    )


def _own_bytes(pid: int | None, store: Path) -> int:
    """Private memory without pages of the store, which belong to the page cache all the same.

    A page that only one process has mapped counts as private there; the system takes it back when
    memory is short.
    """
    maps = psutil.Process(pid).memory_maps(grouped=True) if psutil.LINUX else ()
    below = f"{store.resolve()}{os.sep}"
    shared = sum(int(m.private_clean) for m in maps if m.path.startswith(below))
    return private_memory_bytes(pid) - shared


def _moving(batch: SetBatch, device: str, since: float) -> float:
    """Seconds that a batch takes to the device; 0 on a CPU, where it stays where it is."""
    if device == "cpu":
        return 0.0
    batch.to(device, non_blocking=True)
    return _now(device) - since


def _now(device: str) -> float:
    """The time when the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def tensor_bytes(value: Any) -> int:
    """Size of all tensors of a batch, those of its plan included."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, tuple):
        return sum(map(tensor_bytes, value))
    if is_dataclass(value):
        return sum(tensor_bytes(getattr(value, field.name)) for field in fields(value))
    return 0


@contextmanager
def _only_said_once() -> Iterator[None]:
    """What the data says of itself was said when batches were counted."""
    logger = logging.getLogger("setvae_cli.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
