"""Where work runs: in this process, in several, or on a Dask cluster; the results never differ."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

from setvae_cli.errors import RunError, UsageError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_AHEAD = 2  # items in flight a worker: bounds memory and keeps every worker busy


def map_ordered(
    function: Callable[[Item], Outcome], items: Iterable[Item], *, workers: int | str
) -> Iterator[Outcome]:
    """Apply a function to items, yielding the results in the order of the items.

    Args:
        function: Picklable; it may run in another process.
        items: Read lazily, at most a few ahead of what was yielded.
        workers: Processes (1: this one), or the address of a Dask scheduler.

    Raises:
        RunError: A worker process died.
        SetvaeError: Whatever the function raised.
    """
    if isinstance(workers, str):
        yield from _dask(function, items, workers)
        return
    rest = iter(items)
    first = list(islice(rest, 2))
    if workers <= 1 or len(first) < 2:  # a pool takes longer to start than one part to read
        yield from map(function, chain(first, rest))
    else:
        yield from _processes(function, chain(first, rest), workers)


def _processes(
    function: Callable[[Item], Outcome], items: Iterable[Item], workers: int
) -> Iterator[Outcome]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["setvae_cli.store.precompute"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupts)
    try:
        yield from _in_order(pool, function, items, workers * _LOOK_AHEAD)
    except BrokenProcessPool as error:
        raise RunError(
            "a worker process died, often because memory ran out", mend="use fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


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


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; only the parent decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _dask(function: Callable[[Any], Outcome], items: Iterable[Any], address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "a Dask scheduler needs the dask extra", mend="pip install 'setvae-cli[dask]'"
        ) from error
    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        threads = sum(client.nthreads().values())
        yield from _in_order(client.get_executor(), function, items, threads * _LOOK_AHEAD)
