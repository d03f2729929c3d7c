"""A prepared store, opened: tables in memory, shards mapped when they are first needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from setvae_cli.errors import DataError
from setvae_cli.files import sha256
from setvae_cli.store.engines import Crew, map_ordered
from setvae_cli.store.format import (
    LABEL,
    MANIFEST,
    ROWS,
    VOCABULARY,
    Manifest,
    Packed,
    Shape,
    read_manifest,
    read_shard,
    shard_name,
)
from setvae_cli.store.rows import in_split, label_matrix
from setvae_cli.store.vocabulary import Vocabulary, read_vocabulary


@dataclass(frozen=True)
class RowColumns:
    """Columns of rows.parquet that batches need, int64 [rows]."""

    shard: NDArray[np.int64]
    row_in_shard: NDArray[np.int64]
    n_sets: NDArray[np.int64]
    n_elements: NDArray[np.int64]


class Store:
    """A store on disk. It pickles as its path, and workers share the pages of its shards.

    Attributes:
        path: The folder.
        manifest: What it holds.
        vocabulary: Its codes and training statistics.
        rows: One row a subject.
        labels: Classes int64 [rows, tasks]; -1 where missing.
        columns: Where each row's events lie.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.rows = _read_rows(path / ROWS)
        self.labels = label_matrix(self.rows)
        names = ("shard", "row_in_shard", "n_sets", "n_elements")
        self.columns = RowColumns(*(self.rows[name].to_numpy().astype(np.int64) for name in names))
        self._shards: dict[int, Packed] = {}

    @staticmethod
    def open(path: Path | str) -> Store:
        """Open the store at a path; of its shards only the sizes are checked, see `verify`.

        Raises:
            InputError: There is no store.
            DataError: A file of it is missing or has another size, or a table was changed.
        """
        path = Path(path)
        manifest = read_manifest(path)
        for name, entry in manifest.files.items():
            file = path / name
            if not file.is_file() or file.stat().st_size != entry.bytes:
                raise DataError(
                    "is missing or has another size than the manifest says",
                    where=str(file),
                    mend="prepare the store again",
                )
        for name in (ROWS, VOCABULARY):
            known = manifest.files.get(name)
            if known is None or sha256(path / name) != known.sha256:
                raise _changed(path / name)
        return Store(path, manifest)

    def __reduce__(self) -> tuple[Callable[[Path], Store], tuple[Path]]:
        return Store.open, (self.path,)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Codes and training statistics."""
        return read_vocabulary(self.path / VOCABULARY)

    @property
    def digest(self) -> str:
        """Digest of the content: equal digests, equal data."""
        return self.manifest.digest

    @property
    def shape(self) -> Shape:
        """Sizes of the training split that a model is built for, which its checkpoints hold."""
        return self.manifest.shape.rounded()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(n.removeprefix(LABEL) for n in self.rows.column_names if n.startswith(LABEL))

    @property
    def classes(self) -> tuple[int, ...]:
        """Classes of each task, at least 2."""
        return tuple(self.manifest.classes[task] for task in self.tasks)

    def split(self, name: str) -> NDArray[np.int64]:
        """Row numbers of `train`, `validation` or `test`, ascending."""
        chosen = in_split(self.rows, name)
        return np.flatnonzero(chosen).astype(np.int64)

    def shard_path(self, number: int) -> Path:
        """The file of a shard."""
        return self.path / shard_name(number)

    def shard(self, number: int) -> Packed:
        """Read-only views of a shard, mapped into memory at the first call.

        Raises:
            DataError: The shard is damaged or missing.
        """
        if number not in self._shards:
            shard = read_shard(self.shard_path(number))
            if not self._fits(number, shard):
                raise DataError(
                    "does not hold the ranges that the table of rows says",
                    where=str(self.shard_path(number)),
                    mend="prepare the store again",
                )
            self._shards[number] = shard
        return self._shards[number]

    def check_keys(self, keys: NDArray[np.int32]) -> None:
        """Make sure that events read from a shard are of codes that there are.

        Raises:
            DataError: A shard is damaged.
        """
        largest = keys.view(np.uint32).max(initial=0)  # of a negative number 2^31 and more
        if self.manifest.element_kind == "event" and largest >= len(self.vocabulary.codes):
            raise DataError(
                "a shard holds a code that the vocabulary does not",
                where=str(self.path),
                mend="prepare the store again",
            )

    def _fits(self, number: int, shard: Packed) -> bool:
        """Whether every row has its sets and elements there, and every set an element."""
        here = self.columns.shard == number
        first, sets = self.columns.row_in_shard[here], shard.set_offsets
        if len(first) and not 0 <= first.min() <= first.max() < len(shard.row_offsets) - 1:
            return False
        begin, end = shard.row_offsets[first], shard.row_offsets[first + 1]
        return bool(
            (sets[1:] > sets[:-1]).all()
            and np.array_equal(end - begin, self.columns.n_sets[here])
            and np.array_equal(sets[end] - sets[begin], self.columns.n_elements[here])
        )


def verify(path: Path, *, workers: int | str | Crew | None = None) -> Store:
    """Compare every file of a store with its checksum in the manifest.

    Args:
        path: The folder.
        workers: Processes that read.

    Raises:
        DataError: A file was changed after it was written.
    """
    store = Store.open(path)
    files = store.manifest.files
    digests = map_ordered(sha256, [path / name for name in files], workers=workers)
    for (name, entry), digest in zip(files.items(), digests, strict=True):
        if digest != entry.sha256:
            raise _changed(path / name)
    return store


def store_bytes(store: Store) -> int:
    """Size of a store's files, bytes."""
    files = sum(entry.bytes for entry in store.manifest.files.values())
    return files + (store.path / MANIFEST).stat().st_size


def _changed(path: Path) -> DataError:
    return DataError(
        "was changed since it was written: its checksum differs",
        where=str(path),
        mend="prepare the store again",
    )


def _read_rows(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            "the table of rows is damaged or missing", where=str(path),
            mend="prepare the store again",
        ) from error  # fmt: skip
