"""Where work runs: in this process, in several, or on a Dask cluster; the results never differ."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from multiprocessing.forkserver import ensure_running
from typing import TypeVar

from setvae_cli.allocator import keep_memory
from setvae_cli.errors import RunError, UsageError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_AHEAD = 2  # items in flight a worker: bounds memory and keeps every worker busy
_PATIENCE = 0.5  # seconds of work that are not worth the start of processes, which takes as long
_DOUBT = 0.1  # seconds of work after which their imports begin, beside it
_TIMEOUT = "10s"  # to find a Dask scheduler
_PRELOAD = ["setvae_cli.store.precompute"]
KEPT_BYTES = 32 << 20  # of memory that was given back, kept for the next part


class Crew:
    """Who does the work of several stages; a context that ends what it started.

    Args:
        workers: Processes (1: this one); the address of a Dask scheduler; None: as many processes
            as there are usable cores, once the work has lasted half a second.
    """

    def __init__(self, workers: int | str | None) -> None:
        self._address = workers if isinstance(workers, str) else None
        self._patience = _PATIENCE if workers is None else 0.0
        self._size = workers if isinstance(workers, int) else len(os.sched_getaffinity(0))
        self._executor: Executor | None = None
        self._deaths: tuple[type[Exception], ...] = (BrokenProcessPool,)
        self._open = ExitStack()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def map(self, function: Callable[[Item], Outcome], items: Iterable[Item]) -> Iterator[Outcome]:
        """Results in the order of the items; see `map_ordered`."""
        rest = iter(items)
        first = list(islice(rest, 2))
        rest = chain(first, rest)
        alone = len(first) < 2 or (self._size <= 1 and self._address is None)
        for item in rest:
            if not alone and self._patience <= 0:
                rest = chain([item], rest)
                break
            started = time.monotonic()
            outcome = function(item)
            self._patience -= time.monotonic() - started
            if not alone and self._patience < _PATIENCE - _DOUBT:
                warm_up(self._size)
            yield outcome
        else:
            return
        executor = self._ready()
        try:
            yield from _in_order(executor, function, rest, self._size * _LOOK_AHEAD)
        except self._deaths as error:
            raise RunError(
                "a worker process died, often because memory ran out", mend="use fewer --workers"
            ) from error

    def _ready(self) -> Executor:
        """The executor, started when it is first needed."""
        if self._executor is None:
            if self._address is None:
                self._executor = self._open.enter_context(_processes(self._size))
            else:
                found = self._open.enter_context(_dask(self._address))
                self._executor, self._size, self._deaths = found
        return self._executor


def map_ordered(
    function: Callable[[Item], Outcome],
    items: Iterable[Item],
    *,
    workers: int | str | Crew | None,
) -> Iterator[Outcome]:
    """Apply a function to items, yielding the results in the order of the items.

    Args:
        function: Picklable; it may run in another process.
        items: Read lazily, at most a few ahead of what was yielded.
        workers: As `Crew` takes them; or a crew, which is kept for the next stage.

    Raises:
        RunError: A worker process died.
        UsageError: The Dask scheduler cannot be reached, or Dask is not installed.
        SetvaeError: Whatever the function raised.
    """
    if isinstance(workers, Crew):
        yield from workers.map(function, items)
    else:
        with Crew(workers) as crew:
            yield from crew.map(function, items)


def warm_up(workers: int | str | None) -> None:
    """Let the server of worker processes import what they need, while this process works on.

    Args:
        workers: As `Crew` takes them; only a number of processes is sure to need the server.
    """
    if isinstance(workers, int) and workers > 1:
        multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOAD)
        ensure_running()


@contextmanager
def _processes(size: int) -> Iterator[Executor]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    pool = ProcessPoolExecutor(size, mp_context=context, initializer=_begin_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Ctrl-C reaches every process of the terminal; only the parent decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory(KEPT_BYTES)


def _end_with_parent() -> None:
    """A killed parent closes no queue: its workers would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int, tuple[type[Exception], ...]]]:
    """The scheduler's workers as an executor, their threads, and what says that one died."""
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import CommClosedError
    except ImportError as error:
        raise UsageError(
            "a Dask scheduler needs the dask extra", mend="pip install 'setvae-cli[dask]'"
        ) from error
    try:
        client = Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler can be reached at {address}",
            where="--workers",
            mend="start it, correct the address, or give a number of processes",
        ) from error
    with client:
        threads = max(1, sum(client.nthreads().values()))
        yield client.get_executor(), threads, (KilledWorker, CommClosedError)


def _in_order(
    pool: Executor, function: Callable[[Item], Outcome], items: Iterable[Item], ahead: int
) -> Iterator[Outcome]:
    pending: deque[Future[Outcome]] = deque()
    for item in items:
        with _signals_held():
            pending.append(pool.submit(function, item))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals wait while a worker is started: a half-started one outlives its parent and complains.

    Only the main thread has handlers, so that elsewhere there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {each: signal.getsignal(each) for each in _SIGNALS}
    for each in _SIGNALS:
        signal.signal(each, lambda number, _: held.append(number))
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in held[:1]:
            signal.raise_signal(number)
