"""No cut and no flipped bit in a file of ours gives a wrong result without a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

from setvae_cli.data.gather import find_windows, gather
from setvae_cli.errors import SetvaeError
from setvae_cli.runs import checkpoint
from setvae_cli.runs.event_file import EventFile
from setvae_cli.runs.export import read_exported
from setvae_cli.runs.manifest import describe_run, read_manifest, write_manifest
from setvae_cli.runs.metrics_log import MetricsLog, _line, read
from setvae_cli.runs.settings_file import read_settings, write_settings
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store, verify
from tests.faults.artefacts import payload, same, write_exported
from tests.faults.damage import KINDS, put
from tests.tiny import cohort, write


@dataclass(frozen=True)
class Artefact:
    """A file that setvae writes and reads.

    Attributes:
        make: Writes it into a folder and returns its path.
        read: All that it says, as plain values.
        record_bytes: Where `read` gives records, of which damage may cost the last ones: the size
            of one in the file.
        checked: Whether damage must be noticed; False where only a crash is ruled out.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    record_bytes: Callable[[Any], int] | None = None
    checked: bool = True


def _make_checkpoint(folder: Path) -> Path:
    checkpoint.save(folder / "last.ckpt", payload())
    return folder / "last.ckpt"


def _make_settings(folder: Path) -> Path:
    write_settings(folder / "settings.yaml", TrainSettings().to_flat())
    return folder / "settings.yaml"


def _make_manifest(folder: Path) -> Path:
    run = describe_run(data_digest="0" * 64, seed=3, device="cpu", precision="32", threads=2)
    write_manifest(folder / "manifest.json", run)
    return folder / "manifest.json"


def _make_log(folder: Path) -> Path:
    log = MetricsLog(folder / "metrics.jsonl")
    for step in range(40):
        log.write({"step": step, "epoch": 1, "train_loss_step": 1 / (step + 1), "note": "é\n"})
    log.close()
    return folder / "metrics.jsonl"


def _make_events(folder: Path) -> Path:
    events = EventFile(folder)
    for step in range(40):
        events.write(step, {"train_loss_step": 1 / (step + 1)})
    events.close()
    return next(folder.glob("events.*"))


def _make_store(folder: Path, name: str) -> Path:
    write(cohort(24), folder / "store")
    return next((folder / "store").glob(name))


def _read_store(path: Path) -> Any:
    store = Store.open(path.parent)
    tables = [store.rows.to_pydict(), store.vocabulary.to_plain(), store.labels.tolist()]
    return [store.manifest.model_dump(), repr(tables)]


def _read_verified(path: Path) -> Any:
    return _gathered(verify(path.parents[1]))


def _gathered(store: Store) -> list[np.ndarray]:
    """Every event of a store."""
    windows = find_windows(store, np.arange(len(store)), limit=None, truncate="latest")
    found = gather(store, windows)
    return [found.row_offsets, found.set_offsets, found.positions, found.keys, found.values]


def _read_exported(path: Path) -> Any:
    exported = read_exported(path)
    return [exported.header.model_dump(), dict(sorted(exported.weights.items()))]


def _records(path: Path) -> list[Any]:
    contents = read(path)
    assert contents.good_bytes + contents.lost_bytes == path.stat().st_size
    return list(contents.records)


ARTEFACTS = {
    "checkpoint": Artefact(_make_checkpoint, lambda path: dict(checkpoint.read(path).payload)),
    "exported model": Artefact(
        lambda folder: write_exported(folder / "model.safetensors"), _read_exported
    ),
    "settings.yaml": Artefact(_make_settings, read_settings),
    "manifest.json of a run": Artefact(
        _make_manifest, lambda path: read_manifest(path).model_dump(exclude={"checksum"})
    ),
    "metrics.jsonl": Artefact(_make_log, _records, lambda record: len(_line(record))),
    "event file": Artefact(
        _make_events,
        lambda path: list(RawEventFileLoader(str(path)).Load()),
        lambda record: len(record) + 16,
    ),
    "store, manifest.json": Artefact(partial(_make_store, name="manifest.json"), _read_store),
    "store, vocabulary": Artefact(partial(_make_store, name="vocabulary.parquet"), _read_store),
    "store, rows": Artefact(partial(_make_store, name="rows.parquet"), _read_store),
    "store, shard": Artefact(partial(_make_store, name="shards/*"), _read_verified),
    "store, unverified shard": Artefact(
        partial(_make_store, name="shards/*"),
        lambda path: _gathered(Store.open(path.parents[1])),
        checked=False,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ARTEFACTS)
def test_damage_is_noticed_or_harmless(tmp_path, report, name, kind) -> None:
    artefact = ARTEFACTS[name]
    path = artefact.make(tmp_path)
    whole, expected = path.read_bytes(), artefact.read(path)
    injected = survived = wrong = lost = 0
    for content in KINDS[kind](whole):
        put(path, content)
        injected += 1
        try:
            found = artefact.read(path)
        except SetvaeError as error:
            assert "\n" not in str(error)
        else:
            if artefact.record_bytes:
                rest = expected[len(found) :]
                lost += sum(map(artefact.record_bytes, rest))
                found = [*found, *rest]
            wrong += artefact.checked and not same(found, expected)
        survived += 1
    report(
        f"{kind}, {name}",
        injected=injected,
        survived=survived,
        bytes_lost=lost,
        silent_wrong=wrong if artefact.checked else None,
    )
