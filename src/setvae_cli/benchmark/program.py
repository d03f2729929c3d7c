"""What benchmarks that are run as modules share: how they read options, and how they end."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from setvae_cli.errors import SettingsError, SetvaeError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Refuse what was asked for.

        Raises:
            SettingsError: Always.
        """
        raise SettingsError(message, mend="see --help")


class Stopped(BaseException):
    """A signal asked this process to end; what it made is removed on its way out."""


def count(text: str) -> int:
    """A whole number from 1 on, for argparse.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def counts(text: str) -> tuple[int, ...]:
    """Numbers with commas between them, each once, ascending."""
    return tuple(sorted({count(part) for part in text.split(",")}))


def guard(program: str, body: Callable[[], None], say: Callable[[str], None]) -> int:
    """Run a benchmark and say in one line why it ended early, if it did.

    Args:
        program: What the line begins with.
        body: The benchmark.
        say: Says a line on stderr.

    Returns:
        The exit status: 0; 2 for what was asked for, 1 for what went wrong later; 128 and the
        number of the signal that ended it.
    """
    try:
        body()
        sys.stdout.flush()
    except SetvaeError as error:
        say(f"{program}: error: {error}")
        return error.exit_code
    except (KeyboardInterrupt, Stopped) as error:
        number = error.args[0] if error.args else signal.SIGINT
        interrupted = number == signal.SIGINT
        say("interrupted" if interrupted else f"stopped by {signal.Signals(number).name}")
        return 128 + int(number)
    except BrokenPipeError:  # whoever read stdout is gone; nothing may write the rest at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def catch_signals() -> None:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into `Stopped`; a second one stops at once."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    for each in SIGNALS:
        if signal.getsignal(each) is _stop:
            signal.signal(each, signal.SIG_DFL)
    raise Stopped(number)
