"""The built-in cohort: reproducible, plausible, and learnable from more than one variable."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest

from setvae_cli.settings.prepare import SourceSettings
from setvae_cli.sources.physiology import CODES, MEASURED
from setvae_cli.sources.simulated import TASK, SimulatedSource


def cohort(subjects: int = 500, seed: int = 0) -> SimulatedSource:
    return SimulatedSource(SourceSettings(subjects=subjects, cohort_seed=seed))


def truth_of(source: SimulatedSource) -> pa.Table:
    return pa.concat_tables([part.read().truth for part in source.parts()])


def rank_quality(score: np.ndarray, outcome: np.ndarray) -> float:
    """AUROC by ranks."""
    order = np.argsort(np.argsort(score)) + 1.0
    positive = outcome == 1
    n, m = positive.sum(), (~positive).sum()
    return float((order[positive].sum() - n * (n + 1) / 2) / (n * m))


def test_the_same_seed_gives_the_same_events_and_another_does_not() -> None:
    first, again = (next(cohort(250).parts()).read() for _ in range(2))
    assert first.events.equals(again.events)
    other = next(cohort(250, seed=1).parts()).read()
    assert not first.events.equals(other.events)


def test_a_subject_does_not_depend_on_the_size_of_the_cohort() -> None:
    small, large = (next(cohort(size).parts()).read() for size in (40, 300))
    few = large.events.filter(pa.compute.less(large.events["subject"], 40))
    assert small.events["value"].equals(few["value"])
    assert small.events["time"].equals(few["time"])
    assert small.subjects.equals(large.subjects[:40])
    assert small.truth.equals(large.truth[:40])


def test_parts_cover_every_subject_once() -> None:
    source = cohort(610)
    read = [part.read() for part in source.parts()]
    ids = [i for records in read for i in records.subjects["subject_id"].to_pylist()]
    assert ids == [f"simulated-{number:07d}" for number in range(610)]
    for records in read:
        assert records.subjects["subject_id"].equals(records.truth["subject_id"])
        assert records.subjects[f"label.{TASK}"].equals(records.truth["death"])


def test_events_stand_by_subject_and_time_and_begin_at_minute_zero() -> None:
    events = next(cohort().parts()).read().events
    subject, minute = events["subject"].to_numpy(), events["time"].to_numpy()
    assert np.all(np.diff(subject * 10_000 + minute) >= 0)
    assert minute.min() == 0
    assert minute.max() < 48 * 60
    starts = np.diff(subject, prepend=-1) > 0
    assert np.all(minute[starts] == 0)


def test_sizes_are_those_of_an_intensive_care_stay() -> None:
    events = next(cohort(250).parts()).read().events
    per_subject = np.bincount(events["subject"].to_numpy(), minlength=250)
    times = events.select(["subject", "time"]).group_by(["subject", "time"]).aggregate([])
    sets = np.bincount(times["subject"].to_numpy(), minlength=250)
    assert 150 < np.median(per_subject) < 400
    assert 40 < np.median(sets) < 80


def test_values_stay_in_the_range_of_their_code_and_presence_codes_have_none() -> None:
    source = cohort(250)
    events = next(source.parts()).read().events
    kinds = source.kinds()
    code = events["code"].combine_chunks()
    names = np.array(code.dictionary.to_pylist())[code.indices.to_numpy()]
    value = events["value"].to_numpy()
    assert set(names) == set(CODES)
    for measured in MEASURED:
        own = value[names == measured.name]
        if kinds.get(measured.name) == "presence":
            assert np.isnan(own).all()
        else:
            assert own.min() >= measured.lowest
            assert own.max() <= measured.highest
    for name, kind in kinds.items():
        if kind in ("binary", "category"):
            own = value[names == name]
            assert np.all(own == np.floor(own))
            assert own.max() <= (1 if kind == "binary" else 3)


@pytest.mark.parametrize("seed", range(3))
def test_about_one_in_seven_dies(seed: int) -> None:
    truth = truth_of(cohort(4000, seed))
    assert 0.12 < np.mean(truth["death"].to_numpy()) < 0.165


def test_the_truth_predicts_death_and_no_single_summary_comes_near() -> None:
    source = cohort(4000)
    truth = truth_of(source)
    death = truth["death"].to_numpy()
    assert 0.88 < rank_quality(truth["probability"].to_numpy(), death) < 0.93
    assert rank_quality(truth["severity"].to_numpy(), death) > 0.75
    count = np.concatenate(
        [
            np.bincount(part.read().events["subject"].to_numpy(), minlength=250)
            for part in source.parts()
        ]
    )
    assert 0.5 < rank_quality(count, death) < 0.75


def test_the_sick_are_measured_more_often() -> None:
    source = cohort(1000)
    severity = truth_of(source)["course"].to_pylist()
    mean_course = np.array([np.mean(course) for course in severity])
    count = np.concatenate(
        [
            np.bincount(part.read().events["subject"].to_numpy(), minlength=250)
            for part in source.parts()
        ]
    )
    assert np.corrcoef(mean_course, count)[0, 1] > 0.2


def test_a_thousand_subjects_take_less_than_two_seconds() -> None:
    started = time.process_time()
    for part in cohort(1000).parts():
        part.read()
    assert time.process_time() - started < 2
