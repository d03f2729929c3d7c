"""What is watched, one run or several: looked at, drawn, and told as plain values."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from setvae_cli.errors import InputError
from setvae_cli.reports.watch.find import run_at, runs_below
from setvae_cli.reports.watch.lines import Line
from setvae_cli.reports.watch.listing import listing
from setvae_cli.reports.watch.picture import picture
from setvae_cli.reports.watch.plain import plain
from setvae_cli.reports.watch.run import Look, WatchedRun

SEARCH_SECONDS = 5.0
Name = Callable[[Path], str]


class View(Protocol):
    """One run, or several."""

    def look(self, *, whole: bool) -> None:
        """Read on.

        Args:
            whole: Whether a long log is read in one go.

        Raises:
            InputError: There is no log, or none that can be read.
        """

    @property
    def behind(self) -> bool:
        """Whether there is more to read now."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected."""

    def lines(self, columns: int, rows: int | None = None) -> list[Line]:
        """What was seen, drawn for so many columns and rows."""

    def plain(self) -> dict[str, Any]:
        """The same as plain values."""


def view_of(path: Path, name: Name) -> View:
    """What a path names.

    Args:
        path: A run's folder, a checkpoint in it, or a folder of runs.
        name: How a folder is called on the screen.

    Raises:
        InputError: It names nothing that can be watched.
    """
    folder = run_at(path)
    return Several(path, name) if folder is None else One(folder, name)


class One:
    """One run."""

    def __init__(self, folder: Path, name: Name) -> None:
        self._watched = WatchedRun(folder, name(folder))
        self._look: Look | None = None

    def look(self, *, whole: bool) -> None:
        """Read on."""
        self._look = self._watched.look_whole() if whole else self._watched.look()

    @property
    def behind(self) -> bool:
        """Whether there is more to read now."""
        return self._look is None or self._look.reading is not None

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected."""
        return self._look is not None and self._look.state.ended and not self.behind

    def lines(self, columns: int, rows: int | None = None) -> list[Line]:
        """The picture."""
        assert self._look is not None
        return picture(self._look, columns, rows)

    def plain(self) -> dict[str, Any]:
        """The figures."""
        assert self._look is not None
        return plain(self._look)


class Several:
    """All runs below a folder; those that appear later are found too."""

    def __init__(self, root: Path, name: Name) -> None:
        self._root, self._name = root, name
        self._watched: dict[Path, WatchedRun] = {}
        self._looks: list[Look] = []
        self._notes: list[str] = []
        self._search()

    def look(self, *, whole: bool) -> None:
        """Read on; a run that cannot be read is named, unless no other can."""
        if time.monotonic() - self._searched > SEARCH_SECONDS:
            self._search()
        self._looks, refused = [], []
        for watched in self._watched.values():
            try:
                self._looks.append(watched.look_whole() if whole else watched.look())
            except InputError as error:
                refused.append(error)
        if refused and not self._looks:
            raise refused[0]
        self._notes = [str(error) for error in refused]

    @property
    def behind(self) -> bool:
        """Whether there is more to read now."""
        return any(look.reading is not None for look in self._looks)

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected of any run."""
        return not self.behind and all(look.state.ended for look in self._looks)

    def lines(self, columns: int, rows: int | None = None) -> list[Line]:
        """The table."""
        return listing(self._name(self._root), self._looks, columns, rows, notes=self._notes)

    def plain(self) -> dict[str, Any]:
        """The figures."""
        return {"runs": [plain(look) for look in self._looks], "notes": self._notes}

    def _search(self) -> None:
        known = self._watched
        self._watched = {
            each: known.get(each) or WatchedRun(each, self._name(each))
            for each in runs_below(self._root)
        }
        self._searched = time.monotonic()
