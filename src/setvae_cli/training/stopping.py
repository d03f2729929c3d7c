"""Signals in training: the first one asks to stop after the step, a second one stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from setvae_cli.data.signals import SIGNALS


class Stopping:
    """Notes the first signal; what it interrupts goes on to the end of its optimizer step.

    Attributes:
        received: Number of the first signal; None before it.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def install(self) -> None:
        """Take over signals, but for those that the caller wants ignored."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN and number not in self._before:
                self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
