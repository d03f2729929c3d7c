"""Which checkpoint a run goes on from: the one that is furthest of those that verify."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from setvae_cli.errors import InputError, RunError
from setvae_cli.files import atomic_write, make_folder
from setvae_cli.runs.checkpoint import STATE, CheckpointContent, check_finite, read
from setvae_cli.runs.folder import RunFolder


@dataclass(frozen=True)
class Refused:
    """A checkpoint that cannot be gone on from.

    Attributes:
        path: The file.
        why: One clause.
    """

    path: Path
    why: str


@dataclass(frozen=True)
class Chosen:
    """Where a run goes on.

    Attributes:
        run: The run.
        content: The checkpoint, verified.
        refused: Those that do not verify.
        later: Those that are further, when an earlier one was named.
        states: Inode and time of every checkpoint, as it was looked at.
    """

    run: RunFolder
    content: CheckpointContent
    refused: tuple[Refused, ...]
    later: tuple[Path, ...]
    states: Mapping[Path, tuple[int, int]]


def choose(path: Path) -> Chosen:
    """The checkpoint to go on from.

    Args:
        path: A run's folder, or one of its checkpoints.

    Raises:
        InputError: There is no run, or nothing in it that a run can go on from.
    """
    run = RunFolder.of(path)
    if run is None:
        raise _no_run(path)
    named = None if path.resolve() == run.path.resolve() else read_whole(path)
    states = _states(run)
    seen = _look(states)
    chosen = named or seen.furthest
    if chosen is None:
        raise _nothing_left(run, seen.refused)
    later = [other for other, progress in seen.progress.items() if progress > chosen.progress]
    return Chosen(run, chosen, seen.refused, tuple(later), states)


def read_whole(path: Path) -> CheckpointContent:
    """Open a checkpoint that holds all that a run needs to go on.

    Raises:
        InputError: It cannot be opened, holds weights only, or weights that are not finite.
    """
    content = read(path, mapped=True)
    if not content.payload.get("optimizer_states") or content.header.next_epoch is None:
        raise InputError(
            "holds weights only: a run cannot go on from it",
            where=str(path),
            mend="name a checkpoint that training wrote",
        )
    if not isinstance(content.payload.get(STATE), dict):
        raise InputError("lacks the state of its run", where=str(path))
    check_finite(content.payload["state_dict"], path)
    return content


def set_aside(chosen: Chosen) -> Path | None:
    """Move what does not belong to the run any more out of its way; nothing is removed.

    Damaged checkpoints would be taken for good ones by the next rotation, and those of later steps
    belong to a course that is not gone on with; so does the end of the metrics log.

    Returns:
        The folder they lie in now; None where there was nothing to move.

    Raises:
        RunError: Another process has written a checkpoint since this one was chosen.
    """
    if _states(chosen.run) != chosen.states:
        raise RunError(
            "another process trained in the run meanwhile",
            where=str(chosen.run.path),
            mend="resume it again",
        )
    moved = [refused.path for refused in chosen.refused] + list(chosen.later)
    if not moved:
        return None
    folder = chosen.run.next_abandoned()
    for path in moved:
        os.replace(path, make_folder(folder) / path.name)
    if chosen.later and chosen.run.metrics.exists():
        atomic_write(folder / chosen.run.metrics.name, chosen.run.metrics.read_bytes())
    return folder


@dataclass(frozen=True)
class _Seen:
    """What a look at all checkpoints of a run found; only the furthest one is held."""

    furthest: CheckpointContent | None
    progress: dict[Path, tuple[int, bool]]
    refused: tuple[Refused, ...]


def _look(states: Mapping[Path, tuple[int, int]]) -> _Seen:
    """Read every checkpoint of a run; a file with two names is read once."""
    furthest, progress, refused = None, {}, []
    known: dict[tuple[int, int], tuple[int, bool] | str] = {}
    for path in sorted(states, key=_by_kind):
        identity = states[path]
        if identity not in known:
            try:
                content = read_whole(path)
            except InputError as error:
                known[identity] = error.what
            else:
                known[identity] = content.progress
                if furthest is None or content.progress > furthest.progress:
                    furthest = content
        found = known[identity]
        if isinstance(found, str):
            refused.append(Refused(path, found))
        else:
            progress[path] = found
    return _Seen(furthest, progress, tuple(refused))


def _states(run: RunFolder) -> dict[Path, tuple[int, int]]:
    states = {}
    for path in run.all_checkpoints():
        with suppress(FileNotFoundError):  # whoever trains in the run removes old ones
            status = path.stat()
            states[path] = status.st_ino, status.st_mtime_ns
    return states


def _by_kind(path: Path) -> int:
    """Of names for the same state, the one that says most about where a run stands."""
    kinds = ("interrupted", "error", "final", "last", "previous")
    return next((number for number, kind in enumerate(kinds) if path.name.startswith(kind)), 9)


def _no_run(path: Path) -> InputError:
    if not path.exists():
        return InputError("no such run or checkpoint", where=str(path), mend="check the path")
    if path.is_dir():
        what, mend = "is no run: it has no settings.yaml and checkpoints", "name a run's folder"
    else:
        read_whole(path)
        what, mend = "lies in no run's folder", "put it back into RUN/checkpoints"
    return InputError(what, where=str(path), mend=mend)


def _nothing_left(run: RunFolder, refused: tuple[Refused, ...]) -> InputError:
    if not refused:
        return InputError("holds no checkpoint yet", where=str(run.path), mend="train again")
    shown = ", ".join(f"{one.path.name} {one.why}" for one in refused[:3])
    return InputError(
        f"holds no checkpoint that verifies ({shown})", where=str(run.path), mend="train again"
    )
