"""The layout of a store, and the only file that knows its bytes.

    STORE/manifest.json          written last; a folder without it is no store
    STORE/vocabulary.parquet     code, name, kind, count, mean, std, quantiles [, embedding]
    STORE/rows.parquet           one row a subject: identity, split, place in the shards, labels
    STORE/truth.parquet          a simulated cohort only: what is known behind it, one row a subject
    STORE/shards/NNNNN.arrow     uncompressed Arrow IPC file, one record batch, no nulls, one column
                                 sets: list<struct<position, elements: list<struct<key, value>>>>

For events `position` is minutes (float32), `key` a row of the vocabulary (int32) and `value` raw
(float32, NaN where the code has none). With more axes `position` and `key` are fixed-size lists.
Arrow's nested lists are the two offset arrays that a batch needs: nothing is decoded on reading.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from setvae_cli.errors import DataError, InputError
from setvae_cli.files import check_regular, checksum_plain

FORMAT_VERSION = 1
MANIFEST, VOCABULARY, ROWS, SHARDS = "manifest.json", "vocabulary.parquet", "rows.parquet", "shards"
TRUTH = "truth.parquet"
SPLITS = ("train", "validation", "test")
LABEL, ATTRIBUTE = "label.", "attribute."


def shard_name(number: int) -> str:
    """The path of a shard inside the store."""
    return f"{SHARDS}/{number:05d}.arrow"


@dataclass(frozen=True)
class Packed:
    """Subjects as ranges of sets, sets as ranges of elements.

    Attributes:
        row_offsets: First set of each subject, and the end [rows + 1].
        set_offsets: First element of each set, and the end [sets + 1].
        positions: Minutes, or tile centre in mm, float32 [sets, axes].
        keys: Code numbers int32 [elements], or coordinates [elements, axes].
        values: Raw values float32 [elements]; NaN: presence only.
    """

    row_offsets: NDArray[Any]
    set_offsets: NDArray[Any]
    positions: NDArray[np.float32]
    keys: NDArray[np.int32]
    values: NDArray[np.float32]


class FileEntry(BaseModel):
    """What a file of the store must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: str = Field(description="SHA-256 of its bytes, hexadecimal")
    bytes: int = Field(ge=0, description="Size, bytes")


class SplitCounts(BaseModel):
    """The size of one split."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    subjects: int = Field(ge=0, description="Rows")
    groups: int = Field(ge=0, description="Patients, or what else must not cross splits")
    sets: int = Field(ge=0, description="Sets")
    elements: int = Field(ge=0, description="Elements")
    positive: dict[str, float | None] = Field(
        description="Share of labelled subjects with a class above 0, a task; null: no label"
    )


class Shape(BaseModel):
    """Sizes of the training split that a model is built for."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    set_size_p99: float = Field(ge=0, description="99th percentile of set size, elements")
    sets_per_subject: float = Field(ge=0, description="Mean sets a subject")
    time_scale: float = Field(gt=0, description="95th percentile of the last position")

    def rounded(self) -> Shape:
        """The same with three digits of time: of few subjects it is the very minute of one."""
        return self.model_copy(update={"time_scale": float(f"{self.time_scale:.3g}")})


class Manifest(BaseModel):
    """What a store holds; written last, so that its presence means the store is whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    format_version: Literal[1] = Field(description="Version of this layout")
    element_kind: Literal["event", "voxel"] = Field(description="What an element is")
    source: str = Field(description="Name of the layout the data came from")
    source_digest: str = Field(description="SHA-256 over the digests of the files read")
    digest: str = Field(description="SHA-256 over the checksums of this store's files")
    settings: dict[str, Any] = Field(description="Store settings it was made with")
    counts: dict[str, SplitCounts] = Field(description="Sizes a split")
    shape: Shape = Field(description="Sizes of the training split")
    classes: dict[str, int] = Field(description="Classes a task, at least 2")
    class_names: dict[str, tuple[str, ...]] = Field(
        {}, description="Names of classes 0, 1, ... of tasks given as texts; absent without any"
    )
    drops: dict[str, int] = Field(description="Rows and subjects left out, by reason")
    warnings: list[str] = Field(description="What was said while it was made")
    files: dict[str, FileEntry] = Field(description="Checksum and size a file")
    checksum: str | None = Field(None, description="CRC-32 of all other fields, hexadecimal")


def write_shard(path: Path, packed: Packed) -> None:
    """Write packed subjects as one Arrow IPC file with exactly one record batch."""
    elements = _struct(("key", _axes(packed.keys)), ("value", pa.array(packed.values)))
    sets = _struct(
        ("position", _axes(packed.positions)), ("elements", _list(packed.set_offsets, elements))
    )
    column = _list(packed.row_offsets, sets)
    schema = pa.schema([pa.field("sets", column.type, nullable=False)])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch([column], schema=schema))


def read_shard(path: Path) -> Packed:
    """Read-only views of a shard, without copying: the file is mapped into memory.

    Types and offsets are checked, so that no range leads out of the file; whether a number was
    changed only its checksum tells. It takes 0.2 ms for 300 000 sets.

    Raises:
        DataError: It is missing, truncated, or not what `write_shard` writes.
    """
    try:
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            if reader.num_record_batches != 1:
                raise ValueError("expected one record batch")
            column = reader.get_batch(0).column("sets")
            column.validate(full=True)
            packed = unpack(column)
            _check_types(packed)
            return packed
    except (pa.ArrowException, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            "the shard is damaged or missing", where=str(path), mend="prepare the store again"
        ) from error


def unpack(column: pa.ListArray) -> Packed:
    """The arrays behind a column of sets, or behind a slice of one; nothing is copied."""
    sets = column.values
    elements = sets.field("elements")
    return Packed(
        row_offsets=column.offsets.to_numpy(),
        set_offsets=elements.offsets.to_numpy(),
        positions=_plain(sets.field("position"), columns=True),
        keys=_plain(elements.values.field("key")),
        values=elements.values.field("value").to_numpy(),
    )


def read_manifest(path: Path) -> Manifest:
    """The manifest of the store at `path`.

    Raises:
        InputError: There is no store, or it was written by another version of the layout.
    """
    file = path / MANIFEST
    if not path.is_dir() or not file.exists():
        raise InputError("is no store: it has no manifest.json", where=str(path),
                         mend="make one with setvae precompute")  # fmt: skip
    try:
        plain = json.loads(check_regular(file, "manifest").read_bytes())
        if plain.get("format_version") != FORMAT_VERSION:
            raise InputError(
                f"has format version {plain.get('format_version')!r:.20}, expected "
                f"{FORMAT_VERSION}",
                where=str(path),
                mend="prepare the store again with this version of setvae",
            )
        manifest = Manifest.model_validate(plain)
        if plain.pop("checksum", None) not in (None, checksum_plain(plain)):
            raise ValueError("its checksum differs")
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError("manifest.json is damaged", where=str(path),
                         mend="prepare the store again") from error  # fmt: skip
    return manifest


def _check_types(packed: Packed) -> None:
    wanted = ("i4", "i4", "f4", "i4", "f4")
    found = tuple(array.dtype.str[1:] for array in vars(packed).values())
    if found != wanted:
        raise TypeError(f"expected numbers of the types {wanted}")


def _struct(*columns: tuple[str, pa.Array]) -> pa.StructArray:
    fields = [pa.field(name, array.type, nullable=False) for name, array in columns]
    return pa.StructArray.from_arrays([array for _, array in columns], fields=fields)


def _list(offsets: NDArray[Any], values: pa.Array) -> pa.ListArray:
    kind = pa.list_(pa.field("item", values.type, nullable=False))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values, type=kind)


def _axes(array: NDArray[Any]) -> pa.Array:
    """One number an item as a plain array, several as fixed-size lists."""
    if array.ndim == 1 or array.shape[1] == 1:
        return pa.array(np.ascontiguousarray(array).reshape(-1))
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    kind = pa.list_(pa.field("item", flat.type, nullable=False), array.shape[1])
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def _plain(array: pa.Array, *, columns: bool = False) -> NDArray[Any]:
    if isinstance(array, pa.FixedSizeListArray):
        numbers: NDArray[Any] = array.values.to_numpy().reshape(-1, array.type.list_size)
        return numbers
    flat: NDArray[Any] = array.to_numpy()
    return flat.reshape(-1, 1) if columns else flat
