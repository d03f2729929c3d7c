from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from setvae_cli.errors import DataError
from setvae_cli.store import vigil as vigils
from setvae_cli.store import writer
from setvae_cli.store.reader import Store
from setvae_cli.store.remembered import recall
from setvae_cli.store.vigil import Vigil, read_blocks
from tests.faults.limits import within
from tests.tiny import cohort, write


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of several shards."""
    monkeypatch.setattr(writer, "SHARD_ELEMENTS", 100)
    write(cohort(), tmp_path / "store")
    return Store.open(tmp_path / "store")


class Counting:
    """Reads files, and remembers which."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path) -> Iterator[memoryview]:
        self.read.append(path.name)
        return read_blocks(path)


def names(store: Store) -> list[str]:
    return sorted(Path(name).name for name in store.manifest.files)


def verified(store: Store, memory: Path | None) -> list[str]:
    """The files that a run reads to verify the store."""
    counting = Counting()
    with Vigil(store, memory, read=counting) as vigil:
        vigil.finish()
    return sorted(counting.read)


def flip(path: Path, byte: int = -1) -> None:
    """Change one bit; size, time and inode stay."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_flipped_bit_in_any_shard_fails_the_run(store: Store, tmp_path: Path) -> None:
    shards = [name for name in store.manifest.files if name.endswith(".arrow")]
    assert len(shards) > 2
    for name in shards:
        for byte in (0, 100, -1):
            flip(store.path / name, byte)
            with Vigil(store, tmp_path / "memory") as vigil:
                with pytest.raises(DataError, match=r"checksum differs; prepare the store") as bad:
                    vigil.finish()
                assert bad.value.where == str(store.path / name)
                with pytest.raises(DataError, match="checksum differs"):
                    vigil.check()
            flip(store.path / name, byte)
    assert verified(store, tmp_path / "memory") != []


def test_a_whole_store_passes_and_is_not_read_again(store: Store, tmp_path: Path) -> None:
    memory = tmp_path / "runs" / "memory"
    assert verified(store, memory) == names(store)
    assert verified(store, memory) == []
    assert verified(store, None) == names(store)
    assert [path.stat().st_mode & 0o777 for path in memory.iterdir()] == [0o600]


def test_a_file_of_another_state_is_read_again(store: Store, tmp_path: Path) -> None:
    verified(store, tmp_path / "memory")
    touched, copied = (store.path / f"shards/0000{i}.arrow" for i in (0, 1))
    os.utime(touched)
    state = copied.stat()
    (tmp_path / "copy").write_bytes(copied.read_bytes())
    os.utime(tmp_path / "copy", ns=(state.st_atime_ns, state.st_mtime_ns))
    os.replace(tmp_path / "copy", copied)
    assert verified(store, tmp_path / "memory") == [touched.name, copied.name]
    assert verified(store, tmp_path / "memory") == []


@pytest.mark.parametrize("how", ["touched", "replaced", "grown", "removed"])
@pytest.mark.parametrize("remembered", [True, False])
def test_a_file_that_changes_after_it_was_verified_is_noticed(
    store: Store, tmp_path: Path, how: str, remembered: bool
) -> None:
    if remembered:
        verified(store, tmp_path / "memory")
    shard = store.shard_path(1)
    with Vigil(store, tmp_path / "memory", look_every=0) as vigil:
        vigil.finish()
        if how == "touched":
            os.utime(shard)
        elif how == "grown":
            shard.write_bytes(shard.read_bytes() + b"x")
        elif how == "replaced":
            (tmp_path / "other").write_bytes(shard.read_bytes())
            os.replace(tmp_path / "other", shard)
        else:
            shard.unlink()
        with pytest.raises(DataError, match=r"00001\.arrow: was replaced while it was in use"):
            vigil.check()


def test_a_file_that_is_gone_before_it_is_read_is_noticed(store: Store) -> None:
    store.shard_path(1).unlink()
    with Vigil(store, None) as vigil, pytest.raises(DataError, match="is missing"):
        vigil.finish()


def test_a_file_that_changes_while_it_is_read_is_noticed(store: Store) -> None:
    def read(path: Path) -> Iterator[memoryview]:
        yield from read_blocks(path)
        os.utime(path)

    replaced = pytest.raises(DataError, match="was replaced while it was read")
    with Vigil(store, None, read=read) as vigil, replaced:
        vigil.finish()


def test_at_the_end_of_a_run_nothing_is_slowed_down_any_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vigils, "BLOCK", 64)
    monkeypatch.setattr(vigils, "PAUSE", 3600.0)
    with within(60):
        assert verified(store, None) == names(store)


def test_closing_ends_it_in_the_middle_of_a_file_and_keeps_what_is_verified(
    store: Store, tmp_path: Path
) -> None:
    endless, reading = store.shard_path(1), threading.Event()

    def read(path: Path) -> Iterator[memoryview]:
        while path == endless:
            reading.set()
            yield memoryview(b"x")
        yield from read_blocks(path)

    with Vigil(store, tmp_path / "memory", read=read) as vigil:
        assert reading.wait(60)
        vigil.check()
    assert not any(thread.name == "vigil" for thread in threading.enumerate())
    before = len(recall(tmp_path / "memory", store.digest))
    assert 0 < before < len(store.manifest.files)
    assert len(verified(store, tmp_path / "memory")) == len(store.manifest.files) - before


def test_what_an_earlier_run_remembered_outlives_a_run_that_ends_early(
    store: Store, tmp_path: Path
) -> None:
    verified(store, tmp_path / "memory")
    os.utime(store.shard_path(0))
    vigil = Vigil(store, tmp_path / "memory")
    vigil.close()
    vigil.start()
    vigil.finish()
    assert len(recall(tmp_path / "memory", store.digest)) == len(store.manifest.files) - 1


@pytest.mark.slow
def test_any_damage_to_the_record_means_that_the_store_is_read_again(
    store: Store, tmp_path: Path
) -> None:
    verified(store, tmp_path / "memory")
    (record,) = (tmp_path / "memory").iterdir()
    good, files = record.read_bytes(), recall(tmp_path / "memory", store.digest)
    for byte in range(len(good)):
        for bit in range(8):
            record.write_bytes(good[:byte] + bytes([good[byte] ^ 1 << bit]) + good[byte + 1 :])
            assert recall(tmp_path / "memory", store.digest) in ({}, files)
    for content in (b"", b"[]", b"{}", b"nonsense", good[:-20], b'{"files": 1}', b"[" * 9999):
        record.write_bytes(content)
        assert recall(tmp_path / "memory", store.digest) == {}
    record.unlink()
    os.mkfifo(record)
    assert recall(tmp_path / "memory", store.digest) == {}


def test_the_record_of_another_store_is_not_believed(store: Store, tmp_path: Path) -> None:
    verified(store, tmp_path / "memory")
    (record,) = (tmp_path / "memory").iterdir()
    other = "0" * 64
    record.rename(record.with_name(f"verified-{other[:32]}.json"))
    assert recall(tmp_path / "memory", other) == {}


def test_a_memory_that_cannot_be_written_does_not_fail_the_run(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "memory").write_text("a file stands here")
    assert verified(store, tmp_path / "memory") == names(store)


def test_a_store_of_the_cache_is_mended_by_removing_it(store: Store) -> None:
    flip(store.shard_path(0))
    mended = pytest.raises(DataError, match=r"remove .*store, the next run makes it again")
    with Vigil(store, store.path.parent) as vigil, mended:
        vigil.finish()


def test_a_killed_process_leaves_a_record_that_holds(store: Store, tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from setvae_cli.store import vigil\n"
        "from setvae_cli.store.reader import Store\n"
        "vigil.SAVE_EVERY = -1\n"
        "def read(path):\n"
        "    if path.name == '00001.arrow':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return vigil.read_blocks(path)\n"
        "with vigil.Vigil(Store.open(sys.argv[1]), pathlib.Path(sys.argv[2]), read=read) as v:\n"
        "    v.finish()\n"
    )
    arguments = [sys.executable, "-c", code, str(store.path), str(tmp_path / "memory")]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    known = recall(tmp_path / "memory", store.digest)
    assert {"rows.parquet", "shards/00000.arrow"} <= known.keys()
    assert "shards/00001.arrow" not in known
    assert len(verified(store, tmp_path / "memory")) == len(store.manifest.files) - len(known)
