"""Finds runs at or below a folder and reads their curves, ours and the original's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from setvae_cli import numbers
from setvae_cli.errors import InputError, SetvaeError
from setvae_cli.files import check_regular
from setvae_cli.reports import events
from setvae_cli.reports.curves.joined import Joined, join
from setvae_cli.reports.curves.legacy import undo_weighting
from setvae_cli.reports.curves.levels import floor_of
from setvae_cli.reports.curves.series import Curves, Series, ordered
from setvae_cli.reports.curves.tags import BOOKKEEPING, LOG_FORMAT, canonical, is_known
from setvae_cli.reports.curves.told import events_of
from setvae_cli.runs import metrics_log
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.manifest import read_manifest
from setvae_cli.runs.settings_file import read_settings

METRICS, EVENTS = "metrics.jsonl", "events.out.tfevents."
_SKIPPED = {"abandoned", "checkpoints", "report", "posterior_metrics", "analysis"}
_SMALL_FILE = 1 << 20  # bytes
_SHOWN_TAGS = 8


def find_runs(folder: Path) -> tuple[Path, ...]:
    """Every folder at or below one that holds a log, versions in the order of their numbers.

    Raises:
        InputError: There is no such folder, or no log in it.
    """
    if not folder.exists():
        raise InputError("no such folder", where=str(folder), mend="check the path")
    if not folder.is_dir():
        raise InputError(
            "is a file, expected a folder with logs", where=str(folder), mend="name its folder"
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        mend = "change its permissions"
        raise InputError("cannot be read (permission denied)", where=str(folder), mend=mend)
    found = [Path(place) for place, folders, files in os.walk(folder) if _holds_log(folders, files)]
    if not found:
        raise InputError(
            "holds no log: no metrics.jsonl and no event file",
            where=str(folder),
            mend="name a run's folder, or a folder of TensorBoard logs",
        )
    return tuple(sorted(found, key=_in_order))


def read_run(folder: Path, log_dir: Path | None = None) -> Curves:
    """Read the curves of one run.

    `metrics.jsonl` is read where it is whole; event files where it is missing or damaged.

    Args:
        folder: What holds the log.
        log_dir: Where its event files lie, when elsewhere.

    Raises:
        InputError: Its log is empty, damaged from the start, or without one known curve.
    """
    name = run_name(folder)
    metrics = folder / METRICS
    run, lost = _from_metrics(metrics, name) if metrics.is_file() else (None, 0)
    found = (log_dir or folder).glob(f"{EVENTS}*")
    files = sorted(file for file in found if file.is_file())
    if files and (run is None or lost):
        other = _from_events(files, name, folder)
        if run is None:
            run = other
        elif other.steps > run.steps:
            run = replace(other, events=run.events, notes=(*run.notes, *other.notes))
    if run is None or not any(len(series) for series in run.series.values()):
        raise _nothing_read(folder, lost)
    if not any(is_known(tag) for tag in run.series):
        raise _no_curve(folder, run.series)
    return run


def run_name(folder: Path) -> str:
    """What a run is called: its folder, and for a version the name above it; never a path.

    >>> run_name(Path("outputs/seqsetvae/version_3"))
    'seqsetvae/version_3'
    """
    folder = folder.absolute()
    if folder == Path.home():
        return "run"
    is_version = folder.name.startswith("version_") and folder.parent != Path.home()
    return "/".join(folder.parts[-2:]) if is_version else folder.name


def _holds_log(folders: list[str], files: list[str]) -> bool:
    """Whether a folder holds a log; what belongs to a run is not walked into."""
    folders[:] = [each for each in folders if not each.startswith(".") and each not in _SKIPPED]
    return any(file == METRICS or file.startswith(EVENTS) for file in files)


def _in_order(path: Path) -> tuple[str, int, str]:
    number = path.name.removeprefix("version_")
    return str(path.parent), int(number) if number.isdecimal() else -1, path.name


def _from_metrics(path: Path, name: str) -> tuple[Curves, int]:
    contents = metrics_log.read(path)
    notes: tuple[str, ...] = ()
    lost = contents.lost_bytes
    if lost and not _ends_in_line(path):
        lost = 0  # its last record is being written
    if lost:
        notes = (f"{numbers.size(lost)} at the end of metrics.jsonl cannot be read",)
    scalars = (record for record in contents.records if "event" not in record)
    run = Curves(
        name, _by_tag(scalars), begun=_begun(path.parent), notes=notes,
        events=events_of(contents.records),
    )  # fmt: skip
    return replace(run, floor=_floor(run, path.parent)), lost


def _floor(run: Curves, folder: Path) -> float | None:
    """What free bits leave free: as logged, or as the settings of the run say."""
    logged = floor_of(run)
    if logged is not None:
        return logged
    try:
        found = read_settings(RunFolder(folder).settings)
        return float(found["free_bits"]) * int(found["latent_dim"]) * int(found["levels"])
    except (SetvaeError, OSError, ValueError, KeyError, TypeError):
        return None


def _ends_in_line(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _by_tag(records: Iterable[Mapping[str, Any]]) -> dict[str, Series]:
    columns: dict[str, list[tuple[int, float, float, float]]] = {}
    for record in records:
        step, epoch = record.get("step"), record.get("epoch", np.nan)
        seconds = record.get("seconds", np.nan)
        for tag, value in record.items():
            if tag not in ("step", "seconds") and type(value) in (int, float) and step is not None:
                columns.setdefault(canonical(tag), []).append((step, value, seconds, epoch))
    return {tag: _curve(points) for tag, points in columns.items()}


def _curve(points: list[tuple[int, float, float, float]]) -> Series:
    steps, values, seconds, epochs = np.array(points, np.float64).T
    return ordered(steps.astype(np.int64), values, seconds, epochs)


def _begun(folder: Path) -> str:
    """The day a run of ours began, as its manifest says; empty without one."""
    try:
        return read_manifest(RunFolder(folder).manifest).started.partition("T")[0]
    except (SetvaeError, OSError):
        return ""


def _from_events(files: list[Path], name: str, folder: Path) -> Curves:
    logs = [events.read(file) for file in files if file.stat().st_size]
    if not logs:
        raise InputError("its event files are empty", where=str(folder), mend="train first")
    course = join(logs)
    lost = sum(log.lost_bytes for log in logs)
    legacy = LOG_FORMAT not in course.tags
    run = Curves(name, course.series, legacy, _day(course.began), None, _notes(course, lost))
    if not legacy:
        return run
    floor = _original_floor(folder)
    return undo_weighting(Curves(name, run.series, True, run.begun, floor, run.notes))


def _notes(course: Joined, lost: int) -> tuple[str, ...]:
    notes = []
    if lost:
        notes.append(f"{numbers.size(lost)} of its event files are damaged and were passed over")
    if course.restarted:
        notes.append(
            "a later training in the same folder began anew and takes the place of "
            f"{numbers.count(course.replaced)} values of an earlier one"
        )
    return tuple(notes)


def _day(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).date().isoformat() if wall > 0 else ""


def _original_floor(folder: Path) -> float | None:
    """Free bits times latent dimensions, where the original left its hyper-parameters."""
    try:
        path = check_regular(folder / "hparams.yaml", "hyper-parameters")
        if path.stat().st_size > _SMALL_FILE:
            return None
        found = yaml.safe_load(path.read_bytes())
        return float(found["free_bits"]) * int(found["latent_dim"])
    except (SetvaeError, OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None


def _nothing_read(folder: Path, lost: int) -> InputError:
    if lost:
        what = f"its metrics.jsonl is damaged from the start, {numbers.size(lost)} are lost"
        return InputError(what, where=str(folder), mend="put it back from a copy")
    return InputError("its log holds no values yet", where=str(folder), mend="train first")


def _no_curve(folder: Path, series: Mapping[str, Series]) -> InputError:
    tags = sorted(tag for tag in series if tag not in BOOKKEEPING)
    rest = len(tags) - _SHOWN_TAGS
    shown = ", ".join(tags[:_SHOWN_TAGS]) + (f" and {rest} more" if rest > 0 else "")
    return InputError(
        f"holds no curve of training or validation; its tags: {shown or 'none'}",
        where=str(folder),
        mend="name the log of a training run",
    )
