"""Which jobs a comparison has, in which order, and what it keeps of them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from setvae_cli.errors import DataError, InputError
from setvae_cli.reports.comparison import write
from setvae_cli.training.compare.folder import PAGE, ComparisonFolder, Predicted, interrupted
from setvae_cli.training.compare.jobs import Extent, Job, Place

KINDS = frozenset(
    ("untrained", "probe", "embedding_trees", "summary_trees", "finetuned", "scratch")
)
SHARES = (0.05, 1.0)


def extent(**changes: object) -> Extent:
    given = {"repeats": 2, "folds": 3, "shares": SHARES, "seeds": 2, "kinds": KINDS}
    return Extent(**{**given, "pretrains": True, **changes})  # type: ignore[arg-type]


def test_every_job_comes_once_and_behind_those_that_it_needs() -> None:
    jobs = extent().jobs()
    assert len(jobs) == len(set(jobs)) == len({job.key for job in jobs})
    place = {job: number for number, job in enumerate(jobs)}
    for job in jobs:
        if job.kind in ("embedded", "probe", "embedding_trees", "finetuned"):
            shared = extent().shared(job.place)
            assert place[Job("pretrained", shared)] < place[job]
        if job.kind in ("probe", "embedding_trees"):
            assert place[Job("embedded", extent().shared(job.place))] < place[job]


def test_the_first_repeat_is_whole_before_the_second_begins_and_cheap_jobs_come_first() -> None:
    jobs = extent().jobs()
    assert [job.place.repeat for job in jobs] == sorted(job.place.repeat for job in jobs)
    assert {job.kind for job in jobs[: 3 * len(SHARES)]} == {"summary_trees"}


def test_shares_of_labels_have_one_pre_training_unless_it_reads_them() -> None:
    def trained(by_share: bool) -> int:
        return sum(job.kind == "pretrained" for job in extent(by_share=by_share).jobs())

    assert trained(by_share=False) == 2 * 3
    assert trained(by_share=True) == 2 * 3 * len(SHARES)


def test_an_untrained_network_is_asked_once_a_fold_and_seed_whatever_the_shares() -> None:
    found = [job for job in extent().jobs() if job.kind == "untrained"]
    assert len(found) == 2 * 3 * 2
    assert {job.place.share for job in found} == {max(SHARES)}


def test_without_folds_there_is_one_place_a_share_and_no_pre_training() -> None:
    jobs = extent(repeats=1, folds=None, pretrains=False).jobs()
    assert {job.place for job in jobs} == {Place(0, None, share) for share in SHARES}
    assert not any(job.kind == "pretrained" for job in jobs)


def test_predictions_come_back_as_they_were_kept(tmp_path: Path) -> None:
    folder, job = ComparisonFolder(tmp_path), Job("probe", Place(0, 1, 0.05))
    logits = np.array([[0.5, -1.0], [np.nan, np.nan], [2.0, 1e-300]])
    said = Predicted(np.array([3, 5, 9]), np.array([False, True, True]), logits)
    assert not folder.done(job)
    folder.write(job, said)
    assert folder.done(job)
    found = folder.read(job)
    assert np.array_equal(found.rows, said.rows)
    assert np.array_equal(found.tested, said.tested)
    assert np.array_equal(found.logits, said.logits, equal_nan=True)


def test_damaged_predictions_are_named_and_not_measured(tmp_path: Path) -> None:
    folder, job = ComparisonFolder(tmp_path), Job("probe", Place(0, 1, 0.05))
    said = Predicted(np.arange(50), np.ones(50, dtype=bool), np.arange(50.0)[:, None])
    folder.write(job, said)
    content = bytearray(folder.file(job).read_bytes())
    content[60] ^= 0xFF
    folder.file(job).write_bytes(content)
    with pytest.raises(DataError, match="damaged; remove it, and it is computed again"):
        folder.read(job)


def test_a_comparison_goes_on_only_as_it_was_begun(tmp_path: Path) -> None:
    plan = {"settings": {"lr": 0.1, "folds": 5}, "data_digest": "d", "checkpoint_digest": "c"}
    folder = ComparisonFolder.create(tmp_path, plan)
    folder.pin(plan)
    with pytest.raises(InputError, match=r"with other data and other settings \(lr\)"):
        folder.pin({**plan, "data_digest": "e", "settings": {"lr": 0.2, "folds": 5}})
    assert ComparisonFolder.latest(tmp_path) == folder


def test_what_a_killed_process_left_is_no_comparison_and_keeps_none_from_its_place(
    tmp_path: Path,
) -> None:
    for left in ("comparison_0", "comparison_1/runs", "comparison_2", ".tmp-0-1.1-beef"):
        (tmp_path / left).mkdir(parents=True)
    assert ComparisonFolder.latest(tmp_path) is None
    assert interrupted(tmp_path.parent, tmp_path.name) is None
    made = [ComparisonFolder.create(tmp_path, {"settings": {}}) for _ in range(3)]
    assert [folder.path.name for folder in made] == ["comparison_0", "comparison_2", "comparison_3"]
    assert all(folder.begun for folder in made)
    assert ComparisonFolder.latest(tmp_path) == made[-1]
    assert list((tmp_path / "comparison_1").iterdir()) == [tmp_path / "comparison_1/runs"]


def test_two_processes_never_get_the_same_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: create(tmp_path, n), range(24)))
    assert len({folder.path for folder in made}) == len(made)
    assert [folder.plan()["data_digest"] for folder in made] == list(range(24))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")]


def create(parent: Path, digest: int) -> ComparisonFolder:
    return ComparisonFolder.create(parent, {"settings": {}, "data_digest": digest})


def test_the_comparison_to_go_on_with_is_the_last_one_that_did_not_end(tmp_path: Path) -> None:
    old, newest, ended = (create(tmp_path / name, 0) for name in ("a", "b", "b"))
    for when, folder in enumerate((old, newest, ended)):
        os.utime(folder.path / "plan.json", (when, when))
    (ended.path / PAGE).touch()
    assert interrupted(tmp_path) == newest
    assert interrupted(tmp_path, "a") == old
    assert PAGE == write.PAGE
