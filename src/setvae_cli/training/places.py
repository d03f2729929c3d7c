"""Where the data and the folders of a run lie, seen from where the person stands now.

`settings.yaml` holds paths as they were typed, so relative ones begin where the run was started.
That folder follows from where the run lies and from its output folder:

    /home/me/study/outputs/seqsetvae/version_0      run
                   outputs/seqsetvae/version_0      output folder, name, version
    /home/me/study                                  the run was started here
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setvae_cli.errors import InputError
from setvae_cli.runs.folder import RunFolder
from setvae_cli.settings.command import FinetuneSettings

PLACES = ("output_dir", "name", "log_dir", "data", "ckpt", "checkpoint")
_WRITTEN = ("output_dir", "log_dir")


def is_place(name: str) -> bool:
    """Whether a setting says where something lies; checkpoints do not hold it."""
    return name in PLACES or FinetuneSettings.fields()[name].type is Path


def from_here(run: RunFolder, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Places of a run, seen from the folder of this process.

    Args:
        run: The run.
        typed: Its places as they were typed.
    """
    origin = _origin(run, typed)
    if origin is None or origin == Path.cwd():
        return dict(typed)
    return {name: _seen(name, value, origin) for name, value in typed.items()}


def as_typed(run: RunFolder, typed: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Places to write down: those of the run, and those that were given here in their stead."""
    same = _origin(run, typed) == Path.cwd()
    told = {name: value for name, value in given.items() if is_place(name)}
    moved = {name: _is_path(name, v) and not same for name, v in told.items()}
    return {**typed, **{n: os.path.abspath(v) if moved[n] else v for n, v in told.items()}}


def check_there(data: str | None) -> None:
    """Make sure that the data of a run are where its settings say.

    Raises:
        InputError: They are not.
    """
    if data is not None and not os.path.exists(data):
        what = "the data of the run are not there any more"
        raise InputError(what, where=data, mend="name them with --data")


def _origin(run: RunFolder, typed: Mapping[str, Any]) -> Path | None:
    """Where the run was started; None where its output folder does not tell, or it was moved."""
    below = Path(typed.get("output_dir") or "", typed.get("name") or "", run.path.name)
    parts, lies = Path(os.path.normpath(below)).parts, run.path.resolve()
    if below.is_absolute() or lies.parts[-len(parts) :] != parts:
        return None
    return lies.parents[len(parts) - 1]


def _seen(name: str, value: Any, origin: Path) -> Any:
    """One place: what is read is looked for here first, what is written stays where it was."""
    if not _is_path(name, value) or os.path.isabs(value):
        return value
    there = str(origin / value)
    if name in _WRITTEN:
        return there
    return there if os.path.exists(there) and not os.path.exists(value) else value


def _is_path(name: str, value: Any) -> bool:
    return isinstance(value, str) and name != "name"
