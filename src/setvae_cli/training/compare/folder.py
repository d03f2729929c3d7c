"""A comparison on disk: what it is, and what of it is done.

outputs/<name>/comparison_<n>/            of folds; of one run: <run>/comparison/
    plan.json                             settings, digests of the data and of the checkpoint
    times.jsonl                           how long each job took, which time left is judged by
    predictions/<job>.parquet             a finished method: row, split, logits
    embeddings/<job>.npz                  a finished pass of the pre-trained network
    runs/<job>/version_0/                 an ordinary run, which an interrupted job goes on with
    comparison.json  comparison.html  label_efficiency.png

A file stands there whole or not at all, so that a job is done when its file is there, and a
numbered folder comes with its plan. The page is written last.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from setvae_cli.errors import DataError, InputError
from setvae_cli.files import (
    atomic_path,
    atomic_write,
    fsync,
    make_folder,
    remove,
    sweep_orphans,
    temporary_name,
)
from setvae_cli.runs.folder import RunFolder
from setvae_cli.training.compare.jobs import Job

PLAN, PAGE = "plan.json", "comparison.html"
HARMLESS = ("num_workers", "group_readable", "requeue", "keep")  # the same predictions follow
PLACES = ("data", "ckpt")  # what lies there has its digest beside it
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
_NUMBERED = re.compile(r"comparison_(\d+)")
_MEND = "remove it, and it is computed again"


@dataclass(frozen=True)
class Predicted:
    """What a method said of the validation and test rows of a place.

    Attributes:
        rows: Row numbers, of validation then of test.
        tested: Which of them are of the test split.
        logits: float64 [rows, outputs]; NaN of a row that the method knows nothing of.
    """

    rows: NDArray[np.int64]
    tested: NDArray[np.bool_]
    logits: NDArray[np.float64]


@dataclass(frozen=True)
class ComparisonFolder:
    """The one authority over the paths of a comparison.

    Attributes:
        path: Its folder.
    """

    path: Path

    @classmethod
    def create(cls, parent: Path, plan: Mapping[str, Any]) -> ComparisonFolder:
        """Make the next free numbered folder, which no other process can get too.

        It comes with its plan, or not at all. An empty one, which can be of no comparison, is free.

        Args:
            parent: Where.
            plan: What is compared.
        """
        sweep_orphans(make_folder(parent))
        begun = [number for number, path in _numbered(parent) if cls(path).begun]
        made = cls(make_folder(parent / temporary_name()))
        try:
            made.pin(plan)
            return cls(_settled(made.path, parent, 1 + max(begun, default=-1)))
        finally:
            remove(made.path)

    @classmethod
    def latest(cls, parent: Path) -> ComparisonFolder | None:
        """The numbered comparison below a folder that began last; None where there is none."""
        found = [path for _, path in sorted(_numbered(parent)) if cls(path).begun]
        return cls(found[-1]) if found else None

    @property
    def begun(self) -> bool:
        """Whether it was written down what is compared."""
        return (self.path / PLAN).is_file()

    @property
    def started(self) -> int:
        """When it was begun, nanoseconds: its plan is written once, its folder changes later."""
        return (self.path / PLAN).stat().st_mtime_ns

    @property
    def finished(self) -> bool:
        """Whether all was done and shown."""
        return (self.path / PAGE).is_file()

    @property
    def times(self) -> Path:
        """How long each job took."""
        return self.path / "times.jsonl"

    @property
    def lock(self) -> RunFolder:
        """What `runs.lock.locked` takes."""
        return RunFolder(self.path)

    @property
    def runs(self) -> Path:
        """Folder of the runs, which is their output folder."""
        return self.path / "runs"

    def file(self, job: Job) -> Path:
        """What is there when the job is done."""
        if job.predicts:
            return self.path / "predictions" / f"{job.key}.parquet"
        if job.kind == "embedded":
            return self.path / "embeddings" / f"{job.key}.npz"
        return self.runs / job.key / "done.json"

    def done(self, job: Job) -> bool:
        """Whether nothing is left to do of it."""
        return self.file(job).is_file()

    def write(self, job: Job, predicted: Predicted) -> None:
        """Keep what a method said."""
        columns: dict[str, Any] = {
            "row": predicted.rows,
            "split": pa.array(np.where(predicted.tested, "test", "validation")),
        }
        for number, logits in enumerate(predicted.logits.T):
            columns[f"logit.{number}"] = logits
        target = self.file(job)
        make_folder(target.parent)
        with atomic_path(target) as temporary:
            pq.write_table(pa.table(columns), temporary, write_page_checksum=True)

    def read(self, job: Job) -> Predicted:
        """What `write` kept.

        Raises:
            DataError: The file is damaged.
        """
        path = self.file(job)
        try:
            table = pq.read_table(path, page_checksum_verification=True)
            logits = [table[n].to_numpy() for n in table.column_names if n.startswith("logit.")]
            tested = np.array(table["split"].to_pylist()) == "test"
            return Predicted(table["row"].to_numpy(), tested, np.stack(logits, axis=1))
        except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
            raise DataError("is damaged", where=str(path), mend=_MEND) from error

    def write_embeddings(
        self, job: Job, rows: NDArray[np.int64], embedding: NDArray[np.float32]
    ) -> None:
        """Keep the embeddings of rows."""
        target = self.file(job)
        make_folder(target.parent)
        with atomic_path(target) as temporary, open(temporary, "xb") as file:
            np.savez(file, rows=rows, embedding=embedding)

    def read_embeddings(self, job: Job) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What `write_embeddings` kept.

        Raises:
            DataError: The file is damaged.
        """
        path = self.file(job)
        try:
            with np.load(path, allow_pickle=False) as held:
                return held["rows"], held["embedding"]
        except (OSError, KeyError, ValueError, EOFError) as error:
            raise DataError("is damaged", where=str(path), mend=_MEND) from error

    def pin(self, plan: Mapping[str, Any]) -> None:
        """Write down what is compared, or make sure that it is what was written down.

        Raises:
            InputError: It is another comparison.
        """
        path = self.path / PLAN
        if not self.begun:
            atomic_write(path, json.dumps(plan, indent=1, sort_keys=True) + "\n")
            return
        differing = differences(self.plan(), plan)
        if differing:
            raise InputError(
                f"was begun with other {' and other '.join(map(_called, differing))}",
                where=os.path.relpath(self.path),
                mend="give the same, or begin another comparison",
            )

    def plan(self) -> dict[str, Any]:
        """What was written down.

        Raises:
            InputError: It cannot be read.
        """
        path = self.path / PLAN
        try:
            plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return {**plan, "settings": dict(plan["settings"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            mend = "begin another comparison"
            raise InputError("is damaged or missing", where=str(path), mend=mend) from error


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of what differs between two plans, settings by their flat names."""
    written = [json.loads(json.dumps(plan)) for plan in (one, other)]
    flat = [{**plan, **plan["settings"]} for plan in written]
    names = sorted((set(flat[0]) | set(flat[1])) - {"settings", *HARMLESS, *PLACES})
    return [name for name in names if flat[0].get(name) != flat[1].get(name)]


def interrupted(output_dir: Path, name: str = "*") -> ComparisonFolder | None:
    """The comparison below a folder, of this name, that began last and did not end; else None."""
    parents = [path for path in output_dir.glob(name) if path.is_dir()]
    every = [ComparisonFolder(path) for parent in parents for _, path in _numbered(parent)]
    left = [folder for folder in every if folder.begun and not folder.finished]
    return max(left, key=lambda folder: folder.started, default=None)


def _called(name: str) -> str:
    """What differs, in a word that people have for it.

    >>> _called("data_digest"), _called("max_epochs")
    ('data', 'settings (max_epochs)')
    """
    known = {"data_digest": "data", "checkpoint_digest": "weights in its checkpoint"}
    return known.get(name, f"settings ({name})")


def _settled(made: Path, parent: Path, number: int) -> Path:
    """Give a folder the first number from one on that is free."""
    while True:
        path = parent / f"comparison_{number}"
        try:
            made.rename(path)  # also over an empty folder, and over no other
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            number += 1
        else:
            fsync(parent)
            return path


def _numbered(parent: Path) -> list[tuple[int, Path]]:
    if not parent.is_dir():
        return []
    found = [(_NUMBERED.fullmatch(path.name), path) for path in parent.iterdir()]
    return [(int(match[1]), path) for match, path in found if match]
