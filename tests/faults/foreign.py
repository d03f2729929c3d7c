"""The formats that setvae is given, each as one file that can be damaged, and what reads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.merge import merge
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources.recognise import open_source
from setvae_cli.store.precompute import precompute
from tests.faults import artefacts


@dataclass(frozen=True)
class Format:
    """A foreign format.

    Attributes:
        make: Writes a good file into a folder, with all that belongs to it, and returns its path.
        use: Does what a command does with it; the digest of its bytes where that is recorded.
    """

    make: Callable[[Path], Path]
    use: Callable[[Path], str | None]


def _prepare(data: Path, out: Path, **options: object) -> str:
    shutil.rmtree(out, ignore_errors=True)
    settings = SourceSettings.model_validate(options)
    source = open_source(data, settings)
    precompute(source, StoreSettings(), out, sink=lambda record: None)
    from setvae_cli.store.format import read_manifest

    return read_manifest(out).source_digest


def _table(write: Callable[[Path], Path], name: str) -> Format:
    return Format(
        lambda folder: write(folder / name), lambda path: _prepare(path, path.parent / "store")
    )


def _labelled(folder: Path) -> Path:
    artefacts.write_parquet(folder / "events.parquet")
    return artefacts.write_labels(folder / "labels.csv")


def _use_labels(path: Path) -> str:
    return _prepare(path.with_name("events.parquet"), path.parent / "store", labels=path)


def _stay(folder: Path) -> Path:
    return next(artefacts.write_stays(folder / "set-a").iterdir())


def _patients(name: str) -> Format:
    def use(path: Path) -> str:
        root = next(place for place in path.parents if place.name == "data")
        beside = {"params_map_path": root / "stats.csv", "embeddings_path": root / "cached.csv"}
        return _prepare(root, root.parent / "store", **beside)

    return Format(lambda folder: next(artefacts.write_patients(folder / "data").glob(name)), use)


def _config(folder: Path) -> Path:
    path = folder / "run.yaml"
    path.write_text("# a run\nbatch_size: 8\nlr: 0.001\nname: 'x y'\nlimit_val_batches: 0.5\n")
    return path


def _use_config(path: Path) -> None:
    merge(TrainSettings, options={}, environment={}, config=path)


FORMATS = {
    "Parquet": _table(artefacts.write_parquet, "events.parquet"),
    "CSV": _table(artefacts.write_csv, "events.csv"),
    "labels": Format(_labelled, _use_labels),
    "PhysioNet archive": _table(artefacts.write_archive, "set-a.tar.gz"),
    "PhysioNet text": Format(_stay, lambda path: _prepare(path.parent, path.parents[1] / "store")),
    "SeqSetVAE patient": _patients("patient_ehr/train/*"),
    "SeqSetVAE stats.csv": _patients("stats.csv"),
    "SeqSetVAE cached.csv": _patients("cached.csv"),
    "SeqSetVAE oc.csv": _patients("oc.csv"),
    "YAML config": Format(_config, _use_config),
}
