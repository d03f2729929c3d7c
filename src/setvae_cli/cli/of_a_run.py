"""What reports on a checkpoint share: their folder, their names, where they compute, whole data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from setvae_cli.errors import InputError, RunError
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


@dataclass(frozen=True)
class Kind:
    """A kind of report.

    Attributes:
        name: Of its folder.
        split: That it is of where nothing is asked for.
        files: Names that every report of this kind has, and nothing else is expected to have all.
    """

    name: str
    split: str
    files: Sequence[str]


def report_folder(
    content: CheckpointContent, store: Store, kind: Kind, split: str, save_dir: Path | None
) -> Path:
    """Where a report on a checkpoint is written, made before anything is computed.

    Below the run's reports a report has the name of its kind, with what is unusual about it behind:
    none replaces one on other data, another split or another checkpoint.

    Args:
        content: The checkpoint.
        store: The data; others than it was trained on are named by the start of their digest.
        kind: Of the report.
        split: That it is of.
        save_dir: What the person named, if anything.

    Raises:
        InputError: Nothing can be written there, or what is there is no report of this kind.
    """
    from setvae_cli.runs.folder import RunFolder

    path, mend = content.path, "name another --save-dir"
    if save_dir is None:
        run, parts = RunFolder.of(path), [kind.name]
        parts += [split] if split != kind.split else []
        others = store.digest != content.header.data_digest
        parts += [f"data-{store.digest[:8]}"] if others else []
        parts += [path.stem] if run is not None and is_other(path, run) else []
        save_dir = (run.report if run else path.parent / "report") / "_".join(parts)
    folder = make_folder(save_dir)
    if not os.access(folder, os.W_OK):
        raise InputError("nothing can be written there", where=str(folder), mend=mend)
    there = [name for name in kind.files if os.path.lexists(folder / name)]
    if there and len(there) < len(kind.files):
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
        except RunError:
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
