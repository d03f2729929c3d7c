"""The one error table: how every failure reads, and the exit code it ends with.

0    done                          2    what the person named is wrong (UsageError)
1    failed later (RunError, disk, memory, a fault of ours)
129  SIGHUP    130  Ctrl-C    138  SIGUSR1    143  SIGTERM
"""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import typer

from setvae_cli.errors import SetvaeError, Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_received: list[int] = []  # handlers belong to the process, and so does what they saw


def harden() -> None:
    """Keep what is written private: files 0600, folders 0700, no core dumps of patient data."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def catch_signals() -> None:
    """Turn the first of `SIGNALS` into `Terminated`; a second one stops at once."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)
    sys.unraisablehook = _swallowed


def _swallowed(what: sys.UnraisableHookArgs) -> None:
    """Where nothing can be raised, as when an object goes away, a signal is kept for later."""
    if not isinstance(what.exc_value, Terminated):
        sys.__unraisablehook__(what)


def _terminate(number: int, _: FrameType | None) -> None:
    for each in SIGNALS:
        if signal.getsignal(each) is _terminate:
            signal.signal(each, signal.SIG_DFL)
    _received.append(number)
    raise Terminated(number)


def check_signals() -> None:
    """End the process as a signal asked, if foreign code swallowed the first `Terminated`.

    Compiled modules do, numpy.random's while it is imported among them, and so does every object
    that is going away.
    """
    if _received:
        raise Terminated(_received[0])


def guard(program: str, body: Callable[[], object], *, debug: bool = False) -> int:
    """Run a command and say in one line why it failed, if it did.

    Args:
        program: What the line begins with, such as "setvae train".
        body: The command; an integer that it returns is the exit code.
        debug: Print the traceback first, without values of variables.

    Returns:
        The exit code.
    """
    try:
        code = body()
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 (the last stop before the person)
        if debug:
            traceback.print_exception(error)
        if _is_broken_pipe(error):
            _close_stdout()
        exit_code, sentence = describe(error)
        if sentence:
            _print(f"{program}: error: {sentence}")
        return exit_code
    return code if isinstance(code, int) else 0


def describe(error: BaseException) -> tuple[int, str | None]:
    """Exit code and sentence of any failure; None where there is nothing to say.

    What a foreign exception says may quote data, so only its kind and place are repeated.
    """
    match error:
        case SetvaeError():
            return error.exit_code, _from_here(str(error))
        case typer.Exit():
            return error.exit_code, None
        case typer.TyperException():
            return 2, _usage(error)
        case Terminated():
            return error.exit_code, None if error.told else _signal_sentence(error.exit_code)
        case KeyboardInterrupt():
            return 130, _signal_sentence(130)
        case _ if _is_broken_pipe(error):
            return 1, None
        case _ if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            return 1, "memory ran out; use a smaller --batch-size, or fewer --workers"
        case OSError():
            return 1, _os_sentence(error)
        case RuntimeError() if str(error).startswith("DataLoader worker"):
            return 1, _worker_sentence(str(error))
        case _ if type(error).__name__ == "OutOfMemoryError":
            return 1, "the GPU's memory ran out; use a smaller --batch-size"
        case _ if type(error).__module__.startswith(("torch._inductor.", "torch._dynamo.")):
            return 1, "torch.compile failed; it needs a C++ compiler; leave out --compile-model"
        case _:
            return 1, f"a fault in setvae ({_kind_and_place(error)}); run again with --debug"


def _is_broken_pipe(error: BaseException) -> bool:
    """Whether whoever read stdout is gone, which typer turns into SystemExit."""
    cause = error.__context__ if isinstance(error, SystemExit) else error
    return isinstance(cause, BrokenPipeError)


def _from_here(sentence: str) -> str:
    """Paths as seen from where the person stands."""
    try:
        return sentence.replace(f"{os.getcwd()}/", "")
    except FileNotFoundError:
        return sentence


def _signal_sentence(code: int) -> str:
    return "interrupted" if code == 130 else f"stopped by {signal.Signals(code - 128).name}"


def _usage(error: typer.TyperException) -> str:
    message = " ".join(error.format_message().split())
    for theirs, ours in (
        ("No such option: ", "unknown option "),
        (". Did you", "; did you"),
        (" Did you", "; did you"),
        ("argument(s)", "argument"),
    ):
        message = message.replace(theirs, ours)
    message = re.sub(r" \(Possible options: (.*)\)$", r"; did you mean \1?", message).rstrip(".")
    return message[:1].lower() + message[1:]


def _os_sentence(error: OSError) -> str:
    reason = os.strerror(error.errno).lower() if error.errno else "input or output failed"
    place = f"{Path(os.fsdecode(error.filename)).name}: " if error.filename else ""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return f"{place}{reason}; free some space or name another folder" if full else place + reason


def _worker_sentence(told: str) -> str:
    if "shared memory" in told or "Bus error" in told:
        return "a loader worker found too little room in /dev/shm; use --num-workers 0"
    return "a loader worker died, often because memory ran out; use fewer --num-workers, or 0"


def _kind_and_place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "setvae_cli" in frame.filename] or frames
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return type(error).__name__ + place


def _print(line: str) -> None:
    """One line; on a terminal it breaks between words."""
    if sys.stderr.isatty():
        width = min(shutil.get_terminal_size().columns, 80)
        line = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _close_stdout() -> None:
    """Whoever read stdout is gone; nothing may try to write the rest to it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
