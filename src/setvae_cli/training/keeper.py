"""Keeps a run's checkpoints: the last two, the best, the final one, where it was stopped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from setvae_cli.errors import RunError
from setvae_cli.files import atomic_path, remove
from setvae_cli.runs.folder import Mark, RunFolder

Save = Callable[[Path], None]


class Keeper:
    """Gives checkpoints their names, and removes those that better or newer ones replace.

    A file is written whole under one name and linked to others, in an order in which a process
    that is killed between two of them leaves the newest state readable under one of its names.

    Args:
        run: Where checkpoints go.
        batch_size: Subjects a micro-batch, for names; with a budget their mean, rounded.
        keep: Interrupted and error checkpoints that stay, of each the newest.
        save: Writes the state of the run to a path.
        best: Checkpoints that stay because validation chose them.
    """

    def __init__(
        self, run: RunFolder, *, batch_size: int, keep: int, save: Save, best: int = 2
    ) -> None:
        self._run, self._batch_size, self._keep, self._write = run, batch_size, keep, save
        self._best = best

    def save_validated(self, *, epoch: int, step: int, measure: str, value: float) -> None:
        """Save after a validation; among the best it is kept under a name of its own."""
        path = self._run.best_path(
            epoch=epoch, step=step, measure=measure, value=value, batch_size=self._batch_size
        )
        if self._is_among_best(path):
            with self._naming_last_good():
                self._write(path)
                adopt(self._run, path)
        else:
            self.save_last()
        for worse in self._run.best()[self._best :]:
            remove(worse.path)

    def save_last(self) -> None:
        """Write the newest checkpoint; the one before it stays, and there is always a newest."""
        with self._naming_last_good():
            _keep_previous(self._run)
            self._write(self._run.last)

    def save_final(self, step: int) -> None:
        """Name where training ended: the newest checkpoint, which its last validation wrote."""
        with self._naming_last_good():
            _link(self._run.last, self._run.final_path(step=step, batch_size=self._batch_size))

    def save_stopped(self, kind: Mark, step: int) -> Path:
        """Write where a signal or an exception stopped the run; old ones of its kind go."""
        path = self._run.marked_path(kind, step=step, batch_size=self._batch_size)
        with self._naming_last_good():
            self._write(path)
        self._drop_old(kind)
        return path

    def name_collapsed(self, step: int) -> str:
        """Keep the newest checkpoint under a name of its own, as where a level collapsed."""
        path = self._run.marked_path("collapsed", step=step, batch_size=self._batch_size)
        with self._naming_last_good():
            _link(self._run.last, path)
        self._drop_old("collapsed")
        return path.name

    def _drop_old(self, kind: Mark) -> None:
        for old in self._run.marked(kind)[self._keep :]:
            remove(old)

    def _is_among_best(self, path: Path) -> bool:
        wanted = self._run.as_best(path)
        better = [one for one in self._run.best() if one.path != path and one.rank < wanted.rank]
        return len(better) < self._best

    @contextmanager
    def _naming_last_good(self) -> Iterator[None]:
        """Where the disk refuses, say which checkpoint is the last good one.

        Raises:
            RunError: The disk is full, or refuses the write.
        """
        try:
            yield
        except RunError as error:
            good = [one for one in (self._run.last, self._run.previous) if one.exists()]
            last = f"the last good checkpoint is {good[0].name}" if good else "none was saved yet"
            mend = f"{error.mend}; {last}" if error.mend else last
            raise type(error)(error.what, where=error.where, mend=mend) from error


def adopt(run: RunFolder, path: Path) -> None:
    """Make a finished checkpoint the newest one of its run; the one that was stays beside it."""
    if not run.last.exists() or not run.last.samefile(path):
        _keep_previous(run)
        _link(path, run.last)


def _keep_previous(run: RunFolder) -> None:
    if run.last.exists():
        _link(run.last, run.previous)


def _link(source: Path, target: Path) -> None:
    """Put a finished file under a second name, atomically; files are never changed in place."""
    if target.exists() and target.samefile(source):  # to rename one name to the other does nothing
        return
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
