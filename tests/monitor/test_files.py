"""posterior_metrics/: valid JSON whatever was measured, and whatever lay there before."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from setvae_cli.errors import RunError
from setvae_cli.monitor import files
from setvae_cli.monitor.files import HISTORY, LATEST, LookFiles
from setvae_cli.monitor.groups import Interval
from setvae_cli.monitor.measures import Measures
from tests.monitor.known import case, measured


@pytest.fixture(scope="module")
def healthy() -> Measures:
    level = measured(case("healthy", 2), seed=0, subjects=20)
    return Measures((level,), None, {"variance": 0.1})


def strict(path: Path) -> dict[str, Any]:
    """What JSON as its standard has it says."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    found: dict[str, Any] = json.loads(path.read_bytes(), parse_constant=refuse)
    return found


def steps(folder: Path) -> list[tuple[int, str]]:
    return [(look["step"], look["split"]) for look in strict(folder / HISTORY)["looks"]]


def keep(
    folder: Path, measures: Measures, *looks: tuple[int, str], upto: int | None = None
) -> None:
    kept = LookFiles(folder, upto)
    for step, split in looks:
        kept.add(step, 1, split, measures, ())  # type: ignore[arg-type]
    kept.write()


def test_nothing_is_made_before_the_first_look(tmp_path: Path) -> None:
    LookFiles(tmp_path / "metrics").write()
    assert not (tmp_path / "metrics").exists()


def test_figures_that_are_no_numbers_are_null_and_never_nan(tmp_path: Path, healthy) -> None:
    level = healthy.levels[0]
    broken = replace(level, kl=math.nan, information=Interval(math.inf, -math.inf, math.nan))
    keep(tmp_path, Measures((broken,), None, {"variance": math.nan}), (5, "val"))
    (look,) = strict(tmp_path / HISTORY)["looks"]
    assert "val_kl_level_1" not in look
    assert "legacy/val_variance" not in look
    assert strict(tmp_path / LATEST)["val"]["measures"]["levels"][0]["kl"] is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"3",
        b'{"looks":',
        b'{"looks": null}',
        b'{"looks": {"step": 1}}',
        b'{"looks": [3, null, {"step": "x", "split": "val"}, {"step": 1}, {"split": "val"}]}',
        b'{"looks": [{"step": 1, "split": "other"}], "val": 3, "train": {"step": 9}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_was_damaged_by_hand_is_begun_anew(tmp_path: Path, healthy, content: bytes) -> None:
    for name in (HISTORY, LATEST):
        (tmp_path / name).write_bytes(content)
    keep(tmp_path, healthy, (20, "val"), upto=10)
    assert steps(tmp_path) == [(20, "val")]
    assert strict(tmp_path / LATEST).keys() == {"format", "val"}


def test_a_run_that_goes_on_keeps_what_is_not_later_than_where_it_goes_on(
    tmp_path: Path, healthy
) -> None:
    keep(tmp_path, healthy, (10, "val"), (20, "train"), (20, "val"), (30, "train"))
    for step in (20, 30):
        (tmp_path / f"posterior_metrics_step_{step}.png").touch()
    (tmp_path / "posterior_metrics_step_mine.png").touch()
    keep(tmp_path, healthy, (40, "train"), upto=20)
    assert steps(tmp_path) == [(10, "val"), (20, "train"), (20, "val"), (40, "train")]
    latest = strict(tmp_path / LATEST)
    assert (latest["val"]["step"], latest["train"]["step"]) == (20, 40)
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == ["posterior_metrics_step_20.png", "posterior_metrics_step_mine.png"]


def test_a_validation_that_is_run_again_takes_the_place_of_the_first(
    tmp_path: Path, healthy
) -> None:
    keep(tmp_path, healthy, (10, "val"), (20, "val"))
    keep(tmp_path, healthy, (20, "val"), upto=20)
    assert steps(tmp_path) == [(10, "val"), (20, "val")]


def test_of_very_many_looks_every_second_of_each_split_is_kept(
    tmp_path: Path, healthy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_LOOKS", 20)
    looks = [(step, split) for step in range(60) for split in ("train", "val")]
    keep(tmp_path, healthy, *looks)
    found = steps(tmp_path)
    assert len(found) <= 20
    assert found[-1] == (59, "val")
    for split in ("train", "val"):
        mine = [step for step, its in found if its == split]
        assert mine[0] == 0
        assert mine[-1] > 50
        assert len(mine) >= 5
    assert found == sorted(found)


@pytest.mark.parametrize("call", [1, 2])
def test_a_disk_that_refuses_leaves_the_old_files_whole(
    tmp_path: Path, healthy, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    keep(tmp_path, healthy, (10, "val"))
    calls, replaced = [], os.replace

    def full(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        replaced(*arguments)

    with monkeypatch.context() as patch, pytest.raises(RunError, match="no space left"):
        patch.setattr(os, "replace", full)
        keep(tmp_path, healthy, (20, "val"), upto=10)
    assert steps(tmp_path)[0] == (10, "val")
    assert strict(tmp_path / LATEST)["val"]["step"] == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == [HISTORY, LATEST]
