"""`setvae watch`: how a run goes, drawn from its log while it grows."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from setvae_cli.cli import options
from setvae_cli.cli.failures import check_signals
from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import shown
from setvae_cli.errors import InputError, SettingsError, Terminated
from setvae_cli.settings.command import WatchSettings

if TYPE_CHECKING:
    from rich.text import Text

    from setvae_cli.reports.watch.lines import Line
    from setvae_cli.reports.watch.view import View

SECONDS = 0.5


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, WatchSettings, run)


def run(settings: WatchSettings, output: Output) -> None:
    """Watch a run, or all runs below a folder, in the terminal.

    RUN_OR_ROOT is a run's folder or a checkpoint in it, or a folder of runs, which are listed in a
    table. Files of these folders are all that is read: they may lie on another machine's disk.

    The picture is redrawn twice a second. Ctrl-C is the way out, with exit code 0; the picture
    stays when a run has ended, unless --until-end is given. Off a terminal, with --once and with
    --json there is one picture without colours; COLUMNS sets its width.
    """
    if settings.once and settings.until_end:
        raise SettingsError("is given beside --once", where="--until-end", mend="keep one")
    from setvae_cli.reports.watch.lines import text_of
    from setvae_cli.reports.watch.view import view_of

    view = view_of(_named(settings, output), shown)
    live = not (settings.once or output.speaks_json) and _on_terminal()
    view.look(whole=not live)
    try:
        if live:
            _draw(view, until_end=settings.until_end)
        while settings.until_end and not view.ended:
            _pause()
            view.look(whole=True)
    except Terminated as stop:
        if stop.number != signal.SIGINT:
            raise
    columns, rows = shutil.get_terminal_size()
    if live:  # what was on the screen stays, and the prompt has room below it
        output.result(_showable(view.lines(columns, rows - 2)), view.plain())
        return
    lines = _showable(view.lines(columns))
    output.result([[(text_of(line), None)] for line in lines], view.plain())


def _named(settings: WatchSettings, output: Output) -> Path:
    """What the person named, or the latest run, which is told.

    Raises:
        InputError: There is no run.
    """
    if settings.run_or_root:
        return Path(settings.run_or_root)
    from setvae_cli.runs.folder import latest

    found = latest(settings.output_dir)
    if found is None:
        mend = "name a run's folder, or see setvae train --help"
        raise InputError("holds no run", where=str(settings.output_dir), mend=mend)
    output.facts([("run", f"{shown(found.path)} (the latest)")])
    return found.path


def _draw(view: View, *, until_end: bool) -> None:
    """Draw again and again, on a screen of its own, until Ctrl-C.

    Raises:
        Terminated: A signal asked to end.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False) as live:
        while True:
            view.look(whole=False)
            live.update(_rendered(_showable(view.lines(*console.size))), refresh=True)
            if until_end and view.ended:
                return
            if not view.behind:
                _pause()


def _showable(lines: Sequence[Line]) -> Sequence[Line]:
    """The lines, in plain letters where stdout knows no others."""
    from setvae_cli.reports.watch.lines import in_ascii, text_of

    try:
        "".join(map(text_of, lines)).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return [in_ascii(line) for line in lines]
    return lines


def _rendered(lines: Sequence[Line]) -> Text:
    from rich.text import Text

    rows = [Text.assemble(*((text, style or "") for text, style in line)) for line in lines]
    return Text("\n", no_wrap=True).join(rows)


def _pause() -> None:
    time.sleep(SECONDS)
    check_signals()


def _on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
