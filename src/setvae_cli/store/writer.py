"""Spooled parts become shards: one numbering of codes, missing values out, whole parts a shard."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.errors import InputError, RunError
from setvae_cli.files import disk_errors
from setvae_cli.store.format import Packed, read_shard, write_shard
from setvae_cli.store.pack import keep_elements

SHARD_ELEMENTS = 4_000_000  # a shard takes whole parts until it holds this many
_LARGEST_SHARD = 2**31 - 1  # Arrow's 32-bit offsets

Array = NDArray[Any]


@dataclass(frozen=True)
class SpooledPart:
    """A packed part on disk with its own numbering of codes.

    Attributes:
        path: The file.
        codes: Number of each of its codes, as the spool met them.
        elements: Elements in it.
    """

    path: Path
    codes: NDArray[np.int32]
    elements: int


@dataclass(frozen=True)
class ShardJob:
    """What a worker needs to write one shard.

    Attributes:
        parts: Files of packed parts, in order.
        maps: For each part, the number of each of its codes in the store.
        presence: For each code of the store, whether it never has a value.
        target: The shard.
    """

    parts: tuple[Path, ...]
    maps: tuple[NDArray[np.int32], ...]
    presence: NDArray[np.bool_]
    target: Path


@dataclass(frozen=True)
class WrittenShard:
    """What a shard holds of the rows of its parts.

    Attributes:
        sets, elements: Of each row of the parts; 0 where nothing was left, so it has no row.
        empty_values: Events left out because their code has values and they have none.
    """

    sets: NDArray[np.int64]
    elements: NDArray[np.int64]
    empty_values: int


def check_names(codes: Iterable[str]) -> None:
    """Make sure that names of codes can be told apart and printed.

    Raises:
        InputError: A name holds control characters, or two differ only in case, spaces or
            Unicode form.
    """
    seen: dict[str, str] = {}
    for name in codes:
        if any(unicodedata.category(c) in ("Cc", "Cs") or c == "\ufffd" for c in name):
            raise InputError(
                f"the code {_shown(name)} holds control or undecodable characters",
                mend="clean the names of codes",
            )
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if plain in seen:
            raise InputError(
                f"the codes {_shown(seen[plain])} and {_shown(name)} differ only in case, "
                "spaces or Unicode form",
                mend="give them one name, or two names",
            )
        seen[plain] = name


def _shown(code: str) -> str:
    """A code in an error; the text of an attribute, which may say who a patient is, left out."""
    name, equals, _ = code.partition("=")
    return f"{name + '=...' if equals else name!r:.60}"


def shard_jobs(
    parts: Sequence[SpooledPart],
    numbers: NDArray[np.int32],
    presence: Array,
    targets: Iterator[Path],
) -> Iterator[ShardJob]:
    """Cut the parts into shards; the boundaries depend on the parts alone.

    Args:
        parts: The spool, in order.
        numbers: For each code of the spool, its number in the store.
        presence: For each code of the store, whether it never has a value.
        targets: Where the shards go.
    """
    group: list[SpooledPart] = []
    held = 0
    for i, part in enumerate(parts):
        group.append(part)
        held += part.elements
        if held >= SHARD_ELEMENTS or i == len(parts) - 1:
            maps = tuple(numbers[p.codes] for p in group)
            yield ShardJob(tuple(p.path for p in group), maps, presence, next(targets))
            group, held = [], 0


def merge_parts(job: ShardJob) -> WrittenShard:
    """Write one shard from its parts, and remove these.

    Raises:
        RunError: The disk is full, or one part is larger than a shard can be.
    """
    pieces = [
        _renumber(read_shard(path), numbers, job.presence)
        for path, numbers in zip(job.parts, job.maps, strict=True)
    ]
    packed = _concatenate([piece for piece, _ in pieces])
    if len(packed.keys) > _LARGEST_SHARD:
        raise RunError("one part of the input holds too many events", mend="split the input file")
    bounds = packed.set_offsets[packed.row_offsets]
    sets, elements = np.diff(packed.row_offsets), np.diff(bounds)
    with disk_errors(job.target):
        if len(packed.keys):
            write_shard(job.target, _without_empty_rows(packed))
        for path in job.parts:
            path.unlink()
    return WrittenShard(sets, elements, sum(count for _, count in pieces))


def _renumber(part: Packed, numbers: Array, presence: Array) -> tuple[Packed, int]:
    keys, values = numbers[part.keys], part.values
    bare = presence[keys]
    if bare.any():
        values = np.where(bare, np.float32(np.nan), values)
    keep = ~np.isnan(values) | bare
    if keep.all():
        return Packed(part.row_offsets, part.set_offsets, part.positions, keys, values), 0
    rows, sets, filled = keep_elements(keep, part.row_offsets, part.set_offsets)
    packed = Packed(rows, sets, part.positions[filled], keys[keep], values[keep])
    return packed, int((~keep).sum())


def _concatenate(parts: Sequence[Packed]) -> Packed:
    def offsets(arrays: Sequence[Array]) -> Array:
        sizes = np.concatenate([np.diff(array) for array in arrays])
        return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))

    return Packed(
        offsets([part.row_offsets for part in parts]),
        offsets([part.set_offsets for part in parts]),
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _without_empty_rows(packed: Packed) -> Packed:
    filled = np.flatnonzero(np.diff(packed.row_offsets))
    rows = np.append(packed.row_offsets[filled], packed.row_offsets[-1])
    return Packed(rows, packed.set_offsets, packed.positions, packed.keys, packed.values)
