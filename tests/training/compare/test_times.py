"""Time left is told where finished jobs tell it, and not where nothing does."""

from __future__ import annotations

from pathlib import Path

import pytest

from setvae_cli.training.compare.jobs import Job, Place
from setvae_cli.training.compare.times import Left, Times

ALL, FEW = Place(0, 0, 1.0), Place(0, 0, 0.05)


@pytest.fixture
def times(tmp_path: Path) -> Times:
    known = Times(tmp_path / "times.jsonl")
    for job, seconds in ((Job("probe", ALL), 2.0), (Job("scratch", ALL), 30.0)):
        known.add(job, seconds)
    known.add(Job("scratch", ALL, 1), 50.0)
    return known


def test_a_job_is_expected_to_take_the_mean_of_its_kind(times: Times) -> None:
    left = [Job("probe", Place(0, 1, 1.0)), Job("scratch", ALL, 2), Job("scratch", ALL, 3)]
    assert times.left(left) == Left(job=2.0, behind=80.0, bound=False)


def test_nothing_is_told_while_a_kind_is_unknown(times: Times) -> None:
    assert times.left([Job("probe", ALL), Job("finetuned", ALL)]) is None


def test_a_share_that_was_not_seen_is_bounded_by_one_with_more_labels(times: Times) -> None:
    left = [Job("probe", FEW), Job("scratch", FEW)]
    assert times.left(left) == Left(job=2.0, behind=40.0, bound=True)
    times.add(Job("probe", FEW), 1.0)
    times.add(Job("scratch", FEW), 9.0)
    assert times.left(left) == Left(job=1.0, behind=9.0, bound=False)
    assert Times(Path("nowhere")).left(left) is None


def test_a_later_process_knows_what_was_written_whole(times: Times, tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "probe", "sha')
    left = [Job("scratch", ALL)]
    assert Times(path).left(left) == times.left(left)
