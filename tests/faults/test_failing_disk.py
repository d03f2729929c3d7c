"""Whichever call the disk refuses: the old file or the new one is there, and one line says why."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

from setvae_cli.errors import SetvaeError
from setvae_cli.runs import checkpoint
from setvae_cli.runs.event_file import EventFile
from setvae_cli.runs.export import export, read_exported
from setvae_cli.runs.manifest import Manifest, read_manifest, write_manifest
from setvae_cli.runs.metrics_log import MetricsLog, read
from setvae_cli.runs.settings_file import read_settings, write_settings
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.store.cache import prepared
from setvae_cli.store.reader import verify
from tests.checkpoints import write_checkpoint
from tests.faults.artefacts import payload, write_csv
from tests.faults.disk import Disk, failing
from tests.tiny import cohort, write


def _refusal(number: int) -> BaseException:
    return OSError(number, os.strerror(number))


ERRORS: dict[str, Callable[[], BaseException]] = {
    "full": partial(_refusal, errno.ENOSPC),
    "damaged": partial(_refusal, errno.EIO),
    "quota": partial(_refusal, errno.EDQUOT),
    "read-only": partial(_refusal, errno.EROFS),
    "Ctrl-C": KeyboardInterrupt,
}


@dataclass(frozen=True)
class Writer:
    """A way to write something into a folder, and to read back which of its versions is there.

    Attributes:
        write: Writes version 1 or 2.
        read: The version that is there, 0 for none; anything else is an error.
        replaces: Whether version 1 is there before.
        may_forgive: Whether a call may fail without a word where the new version is whole.
    """

    write: Callable[[Path, int], Any]
    read: Callable[[Path], int]
    replaces: bool = True
    may_forgive: bool = False


def _log(folder: Path, version: int) -> None:
    log = MetricsLog(folder / "x.jsonl")
    try:
        log.write({"step": version})
    finally:
        log.close()


def _logged(folder: Path) -> int:
    if not (folder / "x.jsonl").exists():
        return 0
    contents = read(folder / "x.jsonl")
    assert contents.lost_bytes == 0
    return len(contents.records)


def _add_events(folder: Path, version: int) -> None:
    events = EventFile(folder)
    events.write(version, {"train_loss_step": 1.0})
    events.close()


def _events(folder: Path) -> int:
    """Files with all three records; every file ends at the end of a record."""
    whole = 0
    for path in folder.iterdir():
        records = list(RawEventFileLoader(str(path)).Load())
        assert sum(len(record) + 16 for record in records) == path.stat().st_size
        whole += len(records) == 3
    return whole


def _trained(folder: Path) -> checkpoint.CheckpointContent:
    path = folder / "best.ckpt"
    if not path.exists():
        write_checkpoint(path)
    return checkpoint.read(path)


def _manifest(seed: int) -> Manifest:
    return Manifest(
        started="2020-01-01", versions={}, git=None, environment={}, data_digest="0", seed=seed
    )


def _fill_cache(folder: Path, _: int) -> None:
    data = write_csv(folder.parent / "events.csv")
    prepared(data, SourceSettings(), StoreSettings(), folder / "cache", sink=lambda record: None)


def _stores(folder: Path) -> int:
    return len([verify(path.parent) for path in folder.glob("**/manifest.json")])


WRITERS = {
    "checkpoint": Writer(
        lambda folder, version: checkpoint.save(folder / "x.ckpt", payload(version)),
        lambda folder: checkpoint.read(folder / "x.ckpt").step,
    ),
    "exported model": Writer(
        lambda folder, _: export(_trained(folder.parent), folder / "model.safetensors"),
        lambda folder: len([read_exported(path) for path in folder.iterdir()]),
        replaces=False,
    ),
    "settings.yaml": Writer(
        lambda folder, version: write_settings(folder / "settings.yaml", {"seed": version}),
        lambda folder: read_settings(folder / "settings.yaml")["seed"],
    ),
    "manifest.json": Writer(
        lambda folder, version: write_manifest(folder / "manifest.json", _manifest(version)),
        lambda folder: read_manifest(folder / "manifest.json").seed,
    ),
    "metrics.jsonl": Writer(_log, _logged),
    "event file": Writer(_add_events, _events),
    "store": Writer(
        lambda folder, _: write(cohort(12, parts=2), folder / "store"), _stores, replaces=False
    ),
    "cache": Writer(_fill_cache, _stores, replaces=False, may_forgive=True),
}


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("name", WRITERS)
def test_the_old_file_or_the_new_one_is_there(tmp_path, report, name, lasting) -> None:
    injected = survived = 0
    for error in ERRORS:
        for at in count(1):
            disk = Disk(tmp_path / "x", ERRORS[error], at=at, lasting=lasting)
            if _write_on(disk, WRITERS[name], tmp_path / "x"):
                injected, survived = injected + 1, survived + 1
            else:
                break
    kind = "for good" if lasting else "once"
    report(f"refused {kind}, {name}", injected=injected, survived=survived)


def _write_on(disk: Disk, writer: Writer, folder: Path) -> bool:
    """Write version 2 on a failing disk and look at what is there.

    Returns:
        Whether the disk refused anything.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if writer.replaces:
        writer.write(folder, 1)
    before = writer.read(folder)
    try:
        with failing(disk):
            writer.write(folder, 2)
    except SetvaeError as error:
        assert "\n" not in str(error)
        assert ".tmp-" not in str(error)
        assert disk.failed
    except KeyboardInterrupt:
        assert disk.failed
    else:
        assert writer.may_forgive or not disk.failed
        assert writer.read(folder) == before + 1
    assert writer.read(folder) in (before, before + 1)
    assert not list(folder.rglob(".tmp-*"))
    return disk.failed
