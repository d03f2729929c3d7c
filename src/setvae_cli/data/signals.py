"""Signals around worker processes: they wait while workers start or stop; workers ignore them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Signals that arrive within it are handled when it ends, in the main thread.

    A handler that raises while processes are made leaves half a loader behind, and a child that
    is not yet set up runs the handler of its parent. Processes that are made within it begin with
    these signals blocked.
    """
    waiting: list[int] = []

    def wait(number: int, _: FrameType | None) -> None:
        waiting.append(number)

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # other threads take signals too
        handlers = {n: signal.getsignal(n) for n in SIGNALS if callable(signal.getsignal(n))}
    for number in handlers:
        signal.signal(number, wait)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if waiting:
            signal.raise_signal(waiting[0])


def follow_parent(_: int) -> None:
    """Only the parent decides what a signal means; a worker ends with its parent."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone.

    A worker looks after its parent itself, but not while it waits for someone to take a batch from
    a full pipe, whose other end it holds too.
    """
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
