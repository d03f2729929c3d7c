"""What reports on a checkpoint share: their folder, their names, where they compute."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from setvae_cli.errors import InputError
from setvae_cli.files import make_folder

if TYPE_CHECKING:
    from setvae_cli.runs.checkpoint import CheckpointContent
    from setvae_cli.runs.model import LoadedModel
    from setvae_cli.training.machine import Machine


@dataclass(frozen=True)
class Names:
    """How reports call where a model comes from; no path, as reports travel.

    Attributes:
        run: Name and version of the run; empty outside of one.
        begun: Its date, YYYY-MM-DD; empty where its manifest is gone.
    """

    run: str
    begun: str


def report_folder(path: Path, save_dir: Path | None, name: str) -> Path:
    """Where a report on a checkpoint is written, made before anything is computed.

    Args:
        path: The checkpoint.
        save_dir: What the person named, if anything.
        name: Of the folder below the run's reports.

    Raises:
        InputError: Nothing can be written there.
    """
    from setvae_cli.runs.folder import RunFolder

    run = RunFolder.of(path)
    folder = make_folder(save_dir or (run.report if run else path.parent / "report") / name)
    if not os.access(folder, os.W_OK):
        mend = "name another --save-dir"
        raise InputError("nothing can be written there", where=str(folder), mend=mend)
    return folder


def placed_on(loaded: LoadedModel, device: str) -> Machine:
    """Move a model to one device, in full precision whatever its run had; where it computes."""
    from setvae_cli.training.machine import resolve

    wanted = {"device": device, "precision": "32", "devices": 1, "num_nodes": 1}
    machine = resolve(loaded.settings.run.model_copy(update=wanted), loaded.settings.model.dim)
    loaded.model.to(machine.device)
    return machine


def names_of(content: CheckpointContent) -> Names:
    """The names of the run that a checkpoint lies in."""
    from setvae_cli.runs.folder import RunFolder
    from setvae_cli.runs.manifest import read_manifest

    run = RunFolder.of(content.path)
    if run is None:
        return Names("", "")
    place = run.path.resolve()
    try:
        begun = read_manifest(run.manifest).started.partition("T")[0]
    except InputError:
        begun = ""
    return Names(f"{place.parent.name}/{place.name}", begun)
