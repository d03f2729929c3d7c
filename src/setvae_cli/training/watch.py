"""Watches the other processes of a run on this machine: none is left behind, none hangs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

LOOK_SECONDS = 0.5
HANG_SECONDS = 60.0  # an exchange on a GPU may wait for a process that died; on a CPU it fails
END_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Watch(threading.Thread):
    """Looks at children, or at the parent, until it is over.

    Args:
        children: Processes that this one started, by rank from 1.
        parent: The process that started this one as a part of its run; None: nobody did.
    """

    def __init__(self, children: Sequence[subprocess.Popen[bytes]], parent: int | None) -> None:
        super().__init__(daemon=True, name="setvae-watch")
        self._children, self._parent = children, parent
        self._over = threading.Event()

    def run(self) -> None:
        """Look until it is over."""
        dead_since = None
        while not self._over.wait(LOOK_SECONDS):
            if self._parent is not None and os.getppid() != self._parent:
                os._exit(1)  # nobody is left to say anything to, and this process writes nothing
            if self.dead() is None:
                continue
            dead_since = dead_since or time.monotonic()
            if time.monotonic() - dead_since > HANG_SECONDS:
                _log.warning("%s, and the others wait for it: all end", self.dead())
                self.end(at_once=True)
                os._exit(1)

    def dead(self, within: float = 0.0) -> str | None:
        """What became of a child that failed; None: none did.

        Args:
            within: Seconds to wait for it.
        """
        end = time.monotonic() + within
        while True:
            for rank, child in enumerate(self._children, start=1):
                if child.poll():
                    return f"process {rank} of this run {_how(child.returncode)}"
            if time.monotonic() >= end:
                return None
            time.sleep(LOOK_SECONDS / 10)

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def end(self, *, at_once: bool) -> None:
        """Leave no child behind: they end by themselves, or are made to."""
        last = time.monotonic() + (0 if at_once else END_SECONDS)
        for child in self._children:
            try:
                child.wait(max(last - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _how(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed, by the system when memory ran out"
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
