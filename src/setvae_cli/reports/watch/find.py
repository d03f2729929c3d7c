"""Which runs a path names: one, or all below a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from setvae_cli.errors import InputError
from setvae_cli.runs.folder import RunFolder

_EVENTS = "events.out.tfevents."
_SKIPPED = frozenset({"abandoned", "checkpoints", "report", "posterior_metrics", "analysis"})


def run_at(path: Path) -> Path | None:
    """The folder of the run that a path names, itself or by a checkpoint; None for no run.

    Raises:
        InputError: There is nothing there, a file of another kind, or a run without a log.
    """
    if not path.exists():
        raise InputError("no such file or folder", where=str(path), mend="check the path")
    run = RunFolder.of(path)
    folder = path if run is None else run.path
    if run is None and not path.is_dir():
        raise InputError(
            "is a file, expected a run's folder or a folder of runs",
            where=str(path),
            mend="name the folder",
        )
    if RunFolder(folder).metrics.is_file():
        return folder
    if run is None:
        return None
    if any(folder.glob(f"{_EVENTS}*")):
        raise _only_events(path)
    raise InputError(
        "this run holds no metrics.jsonl, so there is nothing to show",
        where=str(path),
        mend="wait until it trains, or name another run",
    )


def runs_below(root: Path) -> tuple[Path, ...]:
    """Folders of all runs with a log below a folder, versions in the order of their numbers.

    Raises:
        InputError: There is none.
    """
    found, events = [], None
    for place, folders, files in os.walk(root):
        if "metrics.jsonl" in files:
            found.append(Path(place))
        elif events is None and any(file.startswith(_EVENTS) for file in files):
            events = Path(place)
        folders[:] = [each for each in folders if each not in _SKIPPED and each[0] != "."]
    if found:
        return tuple(sorted(found, key=_in_order))
    if events is not None:
        raise _only_events(events)
    raise InputError(
        "holds no run: no metrics.jsonl in it or below it",
        where=str(root),
        mend="name a run's folder, or a folder of runs",
    )


def _only_events(folder: Path) -> InputError:
    return InputError(
        "holds TensorBoard logs and no metrics.jsonl, which is what watch reads",
        where=str(folder),
        mend=f"draw them with setvae analyze-curves {folder}",
    )


def _in_order(path: Path) -> tuple[tuple[int, str], ...]:
    """Names with their numbers as numbers."""
    words = re.split(r"(\d+)", str(path))
    return tuple((int(word), "") if word.isdecimal() else (-1, word) for word in words)
