"""What a path is: a store, a run's folder, a checkpoint, an exported model, or nothing of ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from setvae_cli.errors import InputError
from setvae_cli.files import check_regular
from setvae_cli.runs.export import begins_as_exported
from setvae_cli.runs.folder import latest
from setvae_cli.store.format import ROWS, SHARDS, VOCABULARY

Kind = Literal["store", "run", "checkpoint", "exported"]

STORE_PARTS = (VOCABULARY, ROWS, SHARDS)
RUN_PARTS = ("settings.yaml", "metrics.jsonl", "checkpoints")
EITHER = "name a store, a run's folder, a checkpoint or an exported model"


def recognise(path: Path) -> Kind:
    """What to examine a path as.

    Raises:
        InputError: Nothing is there, or nothing that setvae writes.
    """
    if os.path.isdir(path):  # unlike Path.is_dir, also where a folder may not be entered
        return _folder(path)
    check_regular(path, "store, run or model")
    if path.suffix == ".safetensors" or begins_as_exported(path):
        return "exported"
    with open(path, "rb") as file:
        begins_as_archive = file.read(2) == b"PK"
    if path.suffix == ".ckpt" or begins_as_archive:
        return "checkpoint"
    raise InputError("is nothing that setvae wrote", where=str(path), mend=EITHER)


def _folder(path: Path) -> Kind:
    if not os.access(path, os.R_OK | os.X_OK):
        mend = "change its permissions, or ask its owner"
        raise InputError("may not be read", where=str(path), mend=mend)
    if any((path / part).exists() for part in STORE_PARTS):
        return "store"
    if any((path / part).exists() for part in RUN_PARTS):
        return "run"
    run = latest(path)
    inside = run.path if run else next(iter(sorted(path.glob("version_*"))), None)
    mend = f"name a run in it, such as {inside}" if inside else EITHER
    raise InputError("is no store and no run", where=str(path), mend=mend)
