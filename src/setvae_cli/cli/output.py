"""The one sink: everything that a command prints goes through here.

    stdout    the result: aligned text, or one JSON document with --json
    stderr    what is being done, progress, warnings

On a terminal, progress is one line that is redrawn. Elsewhere it is one plain line a minute and
nothing carries a control code. `--quiet` leaves the result only.
"""

from __future__ import annotations

import json as json_module
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from setvae_cli.cli.failures import check_signals

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PLAIN_SECONDS = 60.0
BAR_WIDTH = 20
KEY_STYLE, HEAD_STYLE, WARN_STYLE = "cyan", "green", "yellow"

Line = str | Sequence[tuple[str, str | None]]
"""A line of a result: as it is, or in parts with their styles."""


class Output:
    """Where one command speaks.

    Args:
        command: Its name, for warnings.
        quiet: Print the result only.
        json: Print the result as JSON.
        verbose: Pass on what library rooms log at level INFO.
        clock: Seconds that only grow; sets the pace of plain progress lines.
    """

    def __init__(
        self,
        command: str,
        *,
        quiet: bool = False,
        json: bool = False,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.verbose = verbose
        self._command, self._quiet, self._json, self._clock = command, quiet, json, clock
        self._bar: tuple[Progress, TaskID] | None = None
        self._last_plain = clock()
        self._spaced = True  # nothing was said yet, or the last line was empty

    @property
    def speaks_json(self) -> bool:
        """Whether the result is one JSON document."""
        return self._json

    @property
    def columns(self) -> int | None:
        """Width of the terminal that progress is shown on; None elsewhere, where lines are free."""
        return _console(sys.stderr).width if _is_terminal(sys.stderr) else None

    def hush(self) -> None:
        """Say nothing from now on."""
        self._quiet = True

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """Say what is being done, on stderr."""
        if not self._quiet:
            self._line(sys.stderr, [(text, style)])

    def space(self) -> None:
        """Leave one line empty on stderr, if the last one is not."""
        if not self._spaced:
            self.say()

    def show(self, line: Line) -> None:
        """Say one line in parts with their styles, on stderr."""
        if not self._quiet:
            self._line(sys.stderr, [(line, None)] if isinstance(line, str) else [*line])

    def facts(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Name what is worked on, one aligned line a fact, on stderr."""
        listed = list(pairs)
        width = max(len(key) for key, _ in listed) + 2
        for key, value in listed:
            if not self._quiet:
                self._line(sys.stderr, [(f"{key:<{width}}", KEY_STYLE), (value, None)])

    def warn(self, text: str) -> None:
        """Warn in one line, on stderr; on a terminal it ends between words."""
        if not self._quiet:
            name = f"setvae {self._command}: "
            parts = [(name, None), ("warning:", WARN_STYLE), (f" {text}", None)]
            self._line(sys.stderr, parts, wraps=True)

    def progress(self, head: str, share: float | None, tail: str, *, stage: bool = False) -> None:
        """Show how far it is: redrawn on a terminal, one line a minute elsewhere.

        Args:
            head: What is being done.
            share: Done of all, 0 to 1; None where the total is unknown.
            tail: Rate, values, time left.
            stage: Whether this begins, so that elsewhere it is a line however long the last one
                is ago.

        Raises:
            Terminated: A signal asked to end.
        """
        check_signals()
        if self._quiet:
            return
        percent = "" if share is None else f"{100 * min(share, 1.0):.0f} %"
        if _is_terminal(sys.stderr):
            self._redraw(head, share, f"{percent:>5}  {tail}".rstrip())
        elif stage or self._clock() - self._last_plain >= PLAIN_SECONDS:
            self._last_plain = self._clock()
            self._line(sys.stderr, [("  ".join(filter(None, (head, percent, tail))), None)])

    def end_progress(self) -> None:
        """Take the progress line away."""
        if self._bar:
            self._bar[0].stop()
            self._bar = None

    def result(
        self, lines: Iterable[Line], data: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> None:
        """Print the result on stdout.

        Args:
            lines: The text; a first line without styles is a head.
            data: The same as plain values, for --json.
        """
        self.end_progress()
        if self._json:
            self.document(json_module.dumps(data, indent=2, allow_nan=False) + "\n")
            return
        self.space()
        for number, line in enumerate(lines):
            style = None if number else HEAD_STYLE
            self._line(sys.stdout, [(line, style)] if isinstance(line, str) else [*line])
        sys.stdout.flush()

    def document(self, text: str) -> None:
        """Print a whole text on stdout, byte by byte as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def next(self, command: str) -> None:
        """Name the command that a person is likely to want now."""
        self.say()
        if not self._quiet:
            self._line(sys.stderr, [("Next:", HEAD_STYLE), (f"  {command}", None)])

    def receive_logs(self) -> None:
        """Print what library rooms log: warnings, and with --verbose what they inform of."""
        logger = logging.getLogger("setvae_cli")
        logger.handlers = [_LogLines(self)]
        logger.setLevel(logging.INFO if self.verbose else logging.WARNING)
        logger.propagate = False
        if not self.verbose:
            warnings.simplefilter("ignore")

    def _line(
        self, stream: TextIO, parts: list[tuple[str, str | None]], *, wraps: bool = False
    ) -> None:
        parts = [(_printable(text), style) for text, style in parts]
        self._spaced = not any(text for text, _ in parts)
        if not _is_terminal(stream):
            print("".join(text for text, _ in parts).rstrip(), file=stream, flush=True)
            return
        from rich.text import Text

        console = self._bar[0].console if self._bar and stream is sys.stderr else _console(stream)
        line = Text.assemble(*((text, style or "") for text, style in parts))
        console.print(line, soft_wrap=not wraps)

    def _redraw(self, head: str, share: float | None, tail: str) -> None:
        if self._bar is None:
            self._bar = _new_bar(head)
        bar, task = self._bar
        _fit_bar(bar, taken=len(head) + len(tail) + 2)
        total = None if share is None else 1.0
        bar.update(task, description=head, completed=share or 0.0, total=total, tail=tail)


class _LogLines(logging.Handler):
    """Turns log records of library rooms into lines of the output."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._output.warn(record.getMessage())
        else:
            self._output.say(record.getMessage())


def _printable(text: str) -> str:
    """The text without what would move a terminal's cursor: names come from files of others."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _fit_bar(bar: Progress, *, taken: int) -> None:
    """Give the bar what the text leaves of the line."""
    from rich.progress import BarColumn

    for column in bar.columns:
        if isinstance(column, BarColumn):
            column.bar_width = max(1, min(BAR_WIDTH, bar.console.width - taken))


def _new_bar(head: str) -> tuple[Progress, TaskID]:
    """A line of head, bar and tail; it goes away when it is stopped."""
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(BAR_WIDTH, complete_style=KEY_STYLE, finished_style=KEY_STYLE),
        TextColumn("{task.fields[tail]}", markup=False),
        console=_console(sys.stderr),
        refresh_per_second=4,
        transient=True,
    )
    task = bar.add_task(head, total=None, tail="")
    bar.start()
    return bar, task
