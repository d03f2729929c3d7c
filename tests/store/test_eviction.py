from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from setvae_cli import files
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.store import eviction
from setvae_cli.store.cache import prepared
from setvae_cli.store.eviction import evict, open_held
from setvae_cli.store.reader import Store
from setvae_cli.store.vigil import Vigil
from tests.tiny import cohort, write


def cached(cache: Path, number: int, used: int) -> Path:
    """A store of the cache, used at a time in seconds."""
    place = cache / f"{number:032x}"
    write(cohort(20, seed=number), place)
    os.utime(place, (used, used))
    return place


def kept(cache: Path) -> list[str]:
    return sorted(path.name[-1] for path in cache.iterdir() if path.is_dir())


def test_the_stores_unused_for_longest_go_and_one_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, used in enumerate((50, 10, 40, 20, 30)):
        cached(tmp_path, number, used)
    evict(tmp_path, kept=3)
    assert kept(tmp_path) == ["0", "2", "4"]
    assert len(caplog.records) == 1
    assert "2 cached stores, those longest unused, removed (" in caplog.text
    evict(tmp_path, kept=3)
    assert len(caplog.records) == 1


def test_a_store_that_is_open_stays_and_goes_when_it_is_closed(tmp_path: Path) -> None:
    place = cached(tmp_path, 1, 10)
    store = open_held(place)
    again = open_held(place)
    assert store is not None
    del again
    gc.collect()
    evict(tmp_path, kept=0)
    assert len(store.shard(0).keys)
    del store
    gc.collect()
    evict(tmp_path, kept=0)
    assert kept(tmp_path) == []


def test_a_store_that_another_process_has_open_stays_until_that_is_killed(tmp_path: Path) -> None:
    place = cached(tmp_path, 1, 10)
    code = (
        "import pathlib, sys\n"
        "from setvae_cli.store.eviction import open_held\n"
        "store = open_held(pathlib.Path(sys.argv[1]))\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        evict(tmp_path, kept=0)
        assert kept(tmp_path) == ["1"]
        other.kill()
    evict(tmp_path, kept=0)
    assert kept(tmp_path) == []


def test_to_open_a_store_is_to_use_it(tmp_path: Path) -> None:
    first, second = cached(tmp_path, 1, 10), cached(tmp_path, 2, 20)
    assert open_held(first) is not None
    gc.collect()
    evict(tmp_path, kept=1)
    assert (first.exists(), second.exists()) == (True, False)


def test_nothing_else_in_the_folder_goes(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "mine")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ("f" * 32)).write_text("a file")
    evict(tmp_path, kept=0)
    assert len(list(tmp_path.iterdir())) == 3


def test_what_was_remembered_of_a_store_goes_with_it(tmp_path: Path) -> None:
    place = cached(tmp_path, 1, 10)
    with Vigil(Store.open(place), tmp_path) as vigil:
        vigil.finish()
    assert len(list(tmp_path.glob("verified-*"))) == 1
    evict(tmp_path, kept=0)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_store_is_removed_like_any_other(tmp_path: Path) -> None:
    place = cached(tmp_path, 1, 10)
    (place / "manifest.json").write_text("{")
    evict(tmp_path, kept=0)
    assert kept(tmp_path) == []


def test_the_cache_stays_small_and_orphans_in_it_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(seed: int) -> Path:
        source = SourceSettings(subjects=40, cohort_seed=seed)
        return prepared(None, source, StoreSettings(), tmp_path, sink=lambda record: None).path

    monkeypatch.setattr(eviction.evict, "__defaults__", (2,))
    places = [get(seed) for seed in range(4)]
    gc.collect()
    assert [place.exists() for place in places] == [False, False, True, True]
    orphan = tmp_path / f".tmp-{files._machine()}-{2**22 + 1}-0"
    orphan.mkdir()
    assert get(2) == places[2]
    assert not orphan.exists()
