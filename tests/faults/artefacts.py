"""One small file of each kind that setvae writes, and one of each that it is given."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch

from setvae_cli.runs.checkpoint import FORMAT_VERSION, read
from setvae_cli.runs.export import export
from tests.checkpoints import write_checkpoint

SUBJECTS = 16


def payload(number: int = 40, *, floats: int = 2_000) -> dict[str, Any]:
    """What a trainer saves after `number` steps; its weights tell the number too."""
    header = {
        "format_version": FORMAT_VERSION,
        "setvae_version": "0.1.0",
        "settings": {"batch_size": 4},
        "vocabulary": {"codes": ["HR"]},
        "data_digest": "0" * 64,
        "tasks": ["death"],
        "classes": [2],
        "set_size_p99": 30.0,
        "time_scale": 2880.0,
        "sets_per_subject": 70.0,
        "planned_steps": 100,
        "measured": {"val_auc": 0.8},
    }
    weights = torch.arange(float(floats)) + number
    return {
        "setvae": header,
        "state_dict": {"model.weight": weights, "model.bias": torch.full((64,), float(number))},
        "optimizer_states": [{"state": {0: {"exp_avg": weights / 2}}, "lr": 1e-3}],
        "epoch": 3,
        "global_step": number,
    }


def write_exported(path: Path) -> Path:
    """A small model, exported."""
    checkpoint = path.with_name("best.ckpt")
    write_checkpoint(checkpoint)
    export(read(checkpoint), path)
    return path


def same(one: Any, other: Any) -> bool:
    """Whether two contents are equal in every value, type and order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def events() -> pa.Table:
    """A table of three events a subject."""
    rows = range(3 * SUBJECTS)
    return pa.table(
        {
            "subject_id": [f"s{row // 3}" for row in rows],
            "minute": [30.0 * (row % 3) for row in rows],
            "variable": ["temperature" if row % 3 else "pulse" for row in rows],
            "value": [100.0 + row / 7 for row in rows],
        }
    )


def outcomes() -> pa.Table:
    """A label a subject."""
    names = [f"s{i}" for i in range(SUBJECTS)]
    return pa.table({"subject_id": names, "death": [i % 2 for i in range(SUBJECTS)]})


def write_parquet(path: Path, *, checked: bool = False) -> Path:
    """The events as Parquet, with page checksums where asked."""
    pq.write_table(events(), path, write_page_checksum=checked)
    return path


def write_csv(path: Path) -> Path:
    """The events as CSV."""
    pyarrow.csv.write_csv(events(), path)
    return path


def write_labels(path: Path) -> Path:
    """The outcomes as CSV."""
    pyarrow.csv.write_csv(outcomes(), path)
    return path


def stay(number: int) -> bytes:
    """The text of a stay of PhysioNet 2012."""
    rows = f"00:00,RecordID,{132539 + number}\n00:00,Age,{40 + number}\n00:30,HR,{80 + number}\n"
    return f"Time,Parameter,Value\n{rows}01:30,Temp,37.{number}\n".encode()


def write_archive(path: Path) -> Path:
    """Stays of PhysioNet 2012 in a tar.gz."""
    with tarfile.open(path, "w:gz") as archive:
        for number in range(SUBJECTS):
            member = tarfile.TarInfo(f"set-a/{132539 + number}.txt")
            member.size = len(stay(number))
            archive.addfile(member, io.BytesIO(stay(number)))
    return path


def write_stays(folder: Path) -> Path:
    """Stays of PhysioNet 2012 as files."""
    folder.mkdir()
    for number in range(SUBJECTS):
        (folder / f"{132539 + number}.txt").write_bytes(stay(number))
    return folder


def write_patients(folder: Path) -> Path:
    """The layout of SeqSetVAE with its four kinds of files."""
    whole = events()
    for number in range(SUBJECTS):
        split = ("train", "train", "valid", "test")[number % 4]
        path = folder / "patient_ehr" / split / f"{number}.0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(whole.drop_columns(["subject_id"]).slice(3 * number, 3), path)
    labels = {"ts_id": range(SUBJECTS), "in_hospital_mortality": [i % 2 for i in range(SUBJECTS)]}
    pyarrow.csv.write_csv(pa.table({k: list(v) for k, v in labels.items()}), folder / "oc.csv")
    (folder / "stats.csv").write_text("variable,mean,std\npulse,100,5\ntemperature,101,6\n")
    (folder / "cached.csv").write_text("Key,0,1\npulse,0.1,0.2\ntemperature,0.3,0.4\n")
    return folder
