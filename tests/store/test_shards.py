"""A shard that was changed and not yet verified: no range of it leads anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from setvae_cli.data.gather import find_windows, gather
from setvae_cli.errors import DataError
from setvae_cli.store.format import Packed, write_shard
from setvae_cli.store.reader import Store
from tests.tiny import cohort, write


@pytest.fixture
def store(tmp_path: Path) -> Store:
    write(cohort(), tmp_path / "store")
    return Store.open(tmp_path / "store")


def changed(store: Store, change: Callable[[Packed], Packed]) -> Store:
    """The store with another first shard; its manifest is as it was."""
    copy = Packed(*(array.copy() for array in vars(store.shard(0)).values()))
    write_shard(store.shard_path(0), change(copy))
    return Store(store.path, store.manifest)


def moved(array: np.ndarray, place: int, by: int) -> np.ndarray:
    array[place] += by
    return array


def gathered(store: Store) -> Packed:
    rows = np.arange(len(store))
    return gather(store, find_windows(store, rows, limit=None, truncate="latest"))


@pytest.mark.parametrize("name", ["row_offsets", "set_offsets"])
@pytest.mark.parametrize("by", [1 << 30, -(1 << 30), 1 << 12, -(1 << 12)])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_range_that_leads_out_of_a_shard_is_refused(
    store: Store, name: str, by: int, place: int
) -> None:
    before = getattr(store.shard(0), name)
    content = store.shard_path(0).read_bytes()
    assert content.count(before.tobytes()) == 1
    after = moved(before.copy(), place, by).tobytes()
    store.shard_path(0).unlink()
    store.shard_path(0).write_bytes(content.replace(before.tobytes(), after))
    bad = Store(store.path, store.manifest)
    with pytest.raises(DataError, match=r"00000\.arrow: .*; prepare the store again"):
        bad.shard(0)


def test_ranges_of_another_table_of_rows_are_refused(store: Store) -> None:
    bad = changed(store, lambda p: replace(p, row_offsets=moved(p.row_offsets, 3, 1)))
    with pytest.raises(DataError, match="does not hold the ranges"):
        bad.shard(0)


def test_a_set_without_elements_is_refused(store: Store) -> None:
    def emptied(packed: Packed) -> Packed:
        offsets = packed.set_offsets
        inside = int(np.setdiff1d(np.arange(len(offsets)), packed.row_offsets)[0])
        offsets[inside] = offsets[inside - 1]
        return packed

    with pytest.raises(DataError, match="does not hold the ranges"):
        changed(store, emptied).shard(0)


@pytest.mark.parametrize("kind", [np.int64, np.uint32, np.float32])
def test_numbers_of_another_type_are_refused(store: Store, kind: type[np.generic]) -> None:
    bad = changed(store, lambda p: replace(p, keys=p.keys.astype(kind)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="damaged"):
        bad.shard(0)


@pytest.mark.parametrize("key", [5, 1 << 20, -1, -(1 << 31)])
def test_a_code_that_the_vocabulary_has_not_is_refused(store: Store, key: int) -> None:
    def renamed(packed: Packed) -> Packed:
        packed.keys[7] = key
        return packed

    assert len(gathered(store).keys) == len(store.shard(0).keys)
    with pytest.raises(DataError, match=r"a code that the vocabulary does not; prepare"):
        gathered(changed(store, renamed))


def test_two_record_batches_are_refused(store: Store) -> None:
    with pa.memory_map(str(store.shard_path(0))) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    store.shard_path(0).unlink()
    with pa.ipc.new_file(str(store.shard_path(0)), batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    with pytest.raises(DataError, match="damaged"):
        Store(store.path, store.manifest).shard(0)
