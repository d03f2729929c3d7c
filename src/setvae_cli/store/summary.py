"""What a store holds, in numbers: its manifest, and the summary people see."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from setvae_cli.files import checksum_plain, sha256
from setvae_cli.settings.prepare import StoreSettings
from setvae_cli.sources.records import Source
from setvae_cli.store.engines import Crew, map_ordered
from setvae_cli.store.format import (
    FORMAT_VERSION,
    LABEL,
    MANIFEST,
    SPLITS,
    FileEntry,
    Manifest,
    Shape,
    SplitCounts,
    read_shard,
    shard_name,
)
from setvae_cli.store.reader import Store, store_bytes
from setvae_cli.store.rows import in_split, label_matrix
from setvae_cli.store.statistics import ShardRows

HUGE_SET = 10_000  # elements
_log = logging.getLogger(__name__)

Array = NDArray[Any]


@dataclass(frozen=True)
class Summary:
    """A store in numbers.

    Attributes:
        path: The folder.
        splits: Sizes and positive shares, a split.
        drops: Rows and subjects left out, by reason, the most frequent first.
        codes: Codes of the vocabulary, by kind.
        classes: Classes of each label.
        class_names: Names of classes 0, 1, ... of labels that were given as texts.
        bytes: Size on disk.
        digest: Digest of the content.
    """

    path: Path
    splits: dict[str, SplitCounts]
    drops: dict[str, int]
    codes: dict[str, int]
    classes: dict[str, int]
    class_names: dict[str, tuple[str, ...]]
    bytes: int
    digest: str

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(self.classes)


def inspect(path: Path) -> Summary:
    """The numbers of a written store.

    Raises:
        InputError: There is no store at `path`.
    """
    store = Store.open(path)
    manifest = store.manifest
    drops = sorted(manifest.drops.items(), key=lambda item: (-item[1], item[0]))
    return Summary(
        path=store.path,
        splits=manifest.counts,
        drops=dict(drops),
        codes=dict(Counter(store.vocabulary.kinds)),
        classes=dict(zip(store.tasks, store.classes, strict=True)),
        class_names=manifest.class_names,
        bytes=store_bytes(store),
        digest=store.digest,
    )


def training_jobs(rows: pa.Table, folder: Path) -> list[ShardRows]:
    """The training rows of each shard."""
    train = in_split(rows, "train")
    shard, inside = (rows[name].to_numpy()[train] for name in ("shard", "row_in_shard"))
    return [
        ShardRows(folder / shard_name(i), inside[shard == i].astype(np.int64))
        for i in np.unique(shard).tolist()
    ]


def write_manifest(
    folder: Path,
    rows: pa.Table,
    source: Source,
    settings: StoreSettings,
    *,
    drops: Mapping[str, int],
    warnings: Sequence[str],
    class_names: Mapping[str, tuple[str, ...]],
    workers: int | str | Crew | None = None,
) -> None:
    """Write the manifest of a folder that is otherwise complete.

    Args:
        folder: The store, under its temporary name.
        rows: Its table of rows.
        source: What it was made from.
        settings: How.
        drops: Rows and subjects left out, by reason.
        warnings: What was said.
        class_names: Names of the classes of tasks that were given as texts.
        workers: Processes that compute checksums.
    """
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    digests = map_ordered(sha256, [folder / name for name in names], workers=workers)
    files = {
        name: FileEntry(sha256=digest, bytes=(folder / name).stat().st_size)
        for name, digest in zip(names, digests, strict=True)
    }
    tasks = [name for name in rows.column_names if name.startswith(LABEL)]
    labels = label_matrix(rows)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        element_kind="event",
        source=source.name,
        source_digest=_digest(_file_digest(Path(name)) for name in source.files()),
        digest=content_digest(files),
        settings=settings.model_dump(mode="json"),
        counts={name: _counts(rows, labels, name) for name in SPLITS},
        shape=fit_shape(training_jobs(rows, folder)),
        classes={
            task.removeprefix(LABEL): max(
                2, int(labels[:, i].max()) + 1, len(class_names.get(task.removeprefix(LABEL), ()))
            )
            for i, task in enumerate(tasks)
        },
        class_names=dict(class_names),
        drops={reason: n for reason, n in sorted(drops.items()) if n},
        warnings=list(warnings),
        files=files,
    )
    # Without names the field is left out, so that earlier versions open the store.
    left_out = {"checksum"} if class_names else {"checksum", "class_names"}
    plain = manifest.model_dump(mode="json", exclude=left_out)
    plain["checksum"] = checksum_plain(plain)
    text = json.dumps(plain, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def content_digest(files: Mapping[str, FileEntry]) -> str:
    """The digest of a store, from the checksums of its files."""
    return _digest(f"{name} {entry.sha256}" for name, entry in files.items())


def _counts(rows: pa.Table, labels: NDArray[np.int64], split: str) -> SplitCounts:
    chosen = in_split(rows, split)
    part = rows.filter(pa.array(chosen))
    positive: dict[str, float | None] = {}
    tasks = [name for name in rows.column_names if name.startswith(LABEL)]
    for i, task in enumerate(tasks):
        known = labels[chosen, i][labels[chosen, i] >= 0]
        positive[task.removeprefix(LABEL)] = float((known > 0).mean()) if len(known) else None
    return SplitCounts(
        subjects=len(part),
        groups=len(part["group_id"].unique()),
        sets=int(part["n_sets"].to_numpy().sum()),
        elements=int(part["n_elements"].to_numpy().sum()),
        positive=positive,
    )


def fit_shape(jobs: Iterable[ShardRows]) -> Shape:
    """Sizes over the given rows."""
    sizes: list[Array] = []
    last: list[Array] = []
    for job in jobs:
        shard = read_shard(job.path)
        chosen = np.zeros(len(shard.row_offsets) - 1, dtype=bool)
        chosen[job.rows] = True
        sizes.append(np.diff(shard.set_offsets)[np.repeat(chosen, np.diff(shard.row_offsets))])
        last.append(shard.positions[shard.row_offsets[job.rows + 1] - 1, 0])
    size = np.concatenate(sizes)
    if size.max() > HUGE_SET:
        _log.warning("one set holds %d elements; check the times, or use --set-window", size.max())
    return Shape(
        set_size_p99=float(np.percentile(size, 99)),
        sets_per_subject=len(size) / sum(map(len, last)),
        time_scale=max(float(np.percentile(np.concatenate(last), 95)), 1.0),
    )


def _file_digest(path: Path) -> str:
    """The SHA-256 of a file; of what cannot be read, and so was left out, a fixed word."""
    try:
        return sha256(path) if path.is_file() else "unreadable"
    except OSError:
        return "unreadable"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
