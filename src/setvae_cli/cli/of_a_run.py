"""What reports on a checkpoint share: their folder, their names, where they compute, whole data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from setvae_cli.errors import DataError, InputError
from setvae_cli.files import make_folder

if TYPE_CHECKING:
    from setvae_cli.runs.checkpoint import CheckpointContent
    from setvae_cli.runs.folder import RunFolder
    from setvae_cli.runs.model import LoadedModel
    from setvae_cli.store.reader import Store
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


def report_folder(
    path: Path, save_dir: Path | None, kind: str, unusual: Sequence[str], files: Sequence[str]
) -> Path:
    """Where a report on a checkpoint is written, made before anything is computed.

    Below the run's reports a report has the name of its kind, with what is unusual about it behind:
    none replaces one on other data, another split or another checkpoint.

    Args:
        path: The checkpoint.
        save_dir: What the person named, if anything.
        kind: Of the report.
        unusual: What it is of, as far as that is not the usual.
        files: Names that every report of this kind has, and nothing else is expected to have all.

    Raises:
        InputError: Nothing can be written there, or what is there is no report of this kind.
    """
    from setvae_cli.runs.folder import RunFolder

    run = RunFolder.of(path)
    mend = "name another --save-dir"
    if save_dir is None:
        best = run is None or not is_other(path, run)
        name = "_".join((kind, *unusual, *(() if best else (path.stem,))))
        save_dir = (run.report if run else path.parent / "report") / name
    folder = make_folder(save_dir)
    if not os.access(folder, os.W_OK):
        raise InputError("nothing can be written there", where=str(folder), mend=mend)
    there = [name for name in files if os.path.lexists(folder / name)]
    if there and len(there) < len(files):
        what = f"holds {there[0]}, and no whole report that it would be of; it is not overwritten"
        raise InputError(what, where=str(folder), mend=mend)
    return folder


def is_other(path: Path, run: RunFolder) -> bool:
    """Whether a checkpoint is another one than its run stands for."""
    try:
        usual = run.best_or_last()
    except InputError:  # it has no other
        return False
    return path.resolve() != usual.resolve()


def unusual_data(content: CheckpointContent, store: Store) -> tuple[str, ...]:
    """How a report names data that the model was not trained on: by the start of their digest."""
    same = store.digest == content.header.data_digest
    return () if same else (f"data-{store.digest[:8]}",)


def placed_on(loaded: LoadedModel, device: str) -> Machine:
    """Move a model to one device, in full precision whatever its run had; where it computes."""
    from setvae_cli.training.machine import resolve

    wanted = {"device": device, "precision": "32", "devices": 1, "num_nodes": 1}
    machine = resolve(loaded.settings.run.model_copy(update=wanted), loaded.settings.model.dim)
    loaded.model.to(machine.device)
    return machine


@contextmanager
def intact(store: Store, output_dir: Path) -> Iterator[None]:
    """A context that ends well only if every file of a store has its checksum.

    What a run beside it verified is not read again; what damage led to is not told in its place.

    Args:
        store: What is read meanwhile.
        output_dir: Folder of all runs, whose cache remembers what was verified.

    Raises:
        DataError: A file was changed.
    """
    from setvae_cli.store.cache import CACHE
    from setvae_cli.store.vigil import Vigil

    memory = output_dir / CACHE if output_dir.is_dir() else None
    with Vigil(store, memory) as vigil:
        try:
            yield
        except DataError:
            vigil.finish()
            raise
        vigil.finish()


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
