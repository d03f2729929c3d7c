"""Random slices: whole sets of their subject, of asked lengths, and functions of their counters."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.data.batch import SetBatch
from setvae_cli.data.dataset import SetDataset
from setvae_cli.data.gather import find_windows, gather
from setvae_cli.data.sampler import BatchRequest
from setvae_cli.data.slices import SliceRule, begun_with, draw_slices, sliced
from setvae_cli.data.views import Cuts
from setvae_cli.store.reader import Store
from tests.tiny import TinySource, cohort, records, write

RULE = SliceRule(5, 0.25, 0.75)
STEP = {"seed": 1, "epoch": 2, "batch": 3}


def draw(n_sets: list[int], rule: SliceRule = RULE, **changed: int) -> tuple[np.ndarray, ...]:
    places = np.arange(len(n_sets))
    return draw_slices(np.array(n_sets), rule, places=places, **(STEP | changed))


@settings(max_examples=50, deadline=None)
@given(
    n_sets=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    least=st.floats(0.01, 60),
    most=st.floats(0.01, 60),
    seed=st.integers(0, 1000),
)
def test_slices_lie_inside_their_subject_and_keep_their_bounds(
    n_sets: list[int], least: float, most: float, seed: int
) -> None:
    rule = SliceRule(4, least, most)
    first, size = draw(n_sets, rule, seed=seed)
    total = np.array(n_sets)[:, None]
    low, high = rule.bounds(total[:, 0])
    assert first.shape == size.shape == (len(n_sets), 4)
    assert (first >= 0).all()
    assert (first + size <= total).all()
    assert (size >= low[:, None]).all()
    assert (size <= high[:, None]).all()
    assert (low >= 1).all()


def test_every_length_and_every_beginning_occurs_about_as_often() -> None:
    first, size = draw([10] * 4000)
    assert np.array_equal(np.unique(size), [3, 4, 5, 6, 7])
    counts = np.bincount(size.reshape(-1))[3:]
    assert np.abs(counts / 4000 - 1).max() < 0.1
    beginnings = np.bincount(first[size == 5])
    assert np.abs(beginnings / beginnings.mean() - 1).max() < 0.15


def test_slices_depend_on_every_counter_and_on_no_other_subject() -> None:
    first, size = draw([50, 60, 70])
    for changed in ({"seed": 9}, {"epoch": 9}, {"batch": 9}):
        assert not np.array_equal(draw([50, 60, 70], **changed)[0], first)
    alone = draw_slices(np.array([60]), RULE, places=np.array([1]), **STEP)
    assert np.array_equal(alone[0][0], first[1])
    assert np.array_equal(alone[1][0], size[1])
    assert len({tuple(row) for row in first.tolist()}) == 3


def test_a_subject_of_one_set_gives_that_set() -> None:
    first, size = draw([1])
    assert first.tolist() == [[0] * 5]
    assert size.tolist() == [[1] * 5]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three subjects of 9, 4 and 1 sets; the value of an event is the number of its set."""
    events = [
        (name, 10.0 * number, code, float(number))
        for name, n_sets in (("a", 9), ("b", 4), ("c", 1))
        for number in range(n_sets)
        for code in "xyz"[: 1 + number % 3]
    ]
    content = records(events, split=["train", "validation", "test"])
    return Store.open(write(TinySource([content]), tmp_path / "store").path)


def test_slices_hold_whole_consecutive_sets_of_their_subject(store: Store) -> None:
    rows = np.arange(len(store))
    windows = find_windows(store, rows, limit=None, truncate="latest")
    first, size = draw(windows.n_sets.tolist())
    whole, packed = gather(store, windows), gather(store, sliced(store, windows, first, size))
    for place in range(len(rows) * 5):
        subject, number = divmod(place, 5)
        begin = whole.row_offsets[subject] + first[subject, number]
        sets = slice(begin, begin + size[subject, number] + 1)
        mine = slice(packed.row_offsets[place], packed.row_offsets[place + 1] + 1)
        theirs, ours = whole.set_offsets[sets], packed.set_offsets[mine]
        assert np.array_equal(np.diff(theirs), np.diff(ours))
        expected = whole.values[theirs[0] : theirs[-1]]
        assert np.array_equal(packed.values[ours[0] : ours[-1]], expected)


def test_a_slice_keeps_the_length_limit_of_its_window(store: Store) -> None:
    rows = np.arange(len(store))
    windows = find_windows(store, rows, limit=2, truncate="latest")
    first, size = draw(windows.n_sets.tolist())
    parts = sliced(store, windows, first, size)
    assert (parts.n_elements >= 1).all()
    assert (parts.n_elements <= 2).all()


@pytest.mark.parametrize("limit", [None, 4])
def test_slices_begin_when_what_is_sliced_of_their_subject_does(
    store: Store, limit: int | None
) -> None:
    rows = np.arange(len(store))
    windows = find_windows(store, rows, limit=limit, truncate="latest")
    first, size = draw(windows.n_sets.tolist())
    packed = gather(store, sliced(store, windows, first, size))
    moved = begun_with(store, windows, packed, 5)
    begins = gather(store, windows).positions[gather(store, windows).row_offsets[:-1]]
    assert np.array_equal(moved.positions[moved.row_offsets[:-1]], begins.repeat(5, 0))
    sets, firsts = np.diff(packed.row_offsets), packed.positions[packed.row_offsets[:-1]]
    since = packed.positions - firsts.repeat(sets, 0)
    assert np.array_equal(moved.positions - begins.repeat(5, 0).repeat(sets, 0), since)
    whole = dataset(store, None).batch(request([0]))
    alone = dataset(store, SliceRule(2, 3.0, 3.0)).batch(request([0]))
    assert torch.equal(alone.positions[:3], whole.positions[:3])
    assert torch.equal(alone.positions[3:], whole.positions[:3])


def test_a_batch_says_which_sets_its_slices_hold(cohort_store: Store) -> None:
    plan = dataset(cohort_store, RULE).batch(request([3, 0])).plan
    assert plan.spans is not None
    assert torch.equal(plan.spans[:, 1] - plan.spans[:, 0], plan.by_subject.offsets.diff())
    assert dataset(cohort_store, None).batch(request([3, 0])).plan.spans is None


@pytest.fixture(scope="module")
def cohort_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Forty subjects with labels."""
    return Store.open(write(cohort(), tmp_path_factory.mktemp("slices") / "store").path)


def dataset(store: Store, rule: SliceRule | None, **options: Any) -> SetDataset:
    rows = np.arange(len(store))
    return SetDataset(store, store.vocabulary, rows, tasks=store.tasks, slicing=rule, **options)


def request(rows: Sequence[int], **changed: Any) -> BatchRequest:
    places = np.arange(len(rows))
    plain = BatchRequest(np.array(rows), 1, 2, places, len(rows), (len(rows),))
    return replace(plain, **changed)


def same(first: SetBatch, second: SetBatch) -> bool:
    names = ("keys", "values", "set_sizes", "positions", "sets_per_subject", "rows", "label_mask")
    return all(torch.equal(getattr(first, n), getattr(second, n)) for n in names)


def test_a_batch_of_slices_repeats_rows_and_has_no_labels(cohort_store: Store) -> None:
    batch = dataset(cohort_store, RULE).batch(request([3, 0]))
    assert batch.rows.tolist() == [3] * 5 + [0] * 5
    assert batch.plan.slices == 5
    assert batch.plan.subjects == 10
    assert batch.plan.step_subjects == 2
    assert not batch.label_mask.any()


@pytest.mark.parametrize(
    "options", [{}, {"hide_rate": 0.5}, {"cuts": Cuts(60.0, 300.0, 0.5, 120.0)}]
)
def test_slices_beside_subjects_change_neither(
    cohort_store: Store, options: dict[str, Any]
) -> None:
    beside = dataset(cohort_store, replace(RULE, beside=True), **options).batch(request([5, 6, 7]))
    assert same(beside, dataset(cohort_store, None, **options).batch(request([5, 6, 7])))
    alone = dataset(cohort_store, RULE, **options).batch(request([5, 6, 7]))
    assert beside.slices is not None
    assert same(beside.slices, alone)


def test_slices_of_each_epoch_differ_and_fixed_ones_never_do(cohort_store: Store) -> None:
    moving = dataset(cohort_store, replace(RULE, beside=True), hide_rate=0.5)
    fixed = dataset(cohort_store, None).fixed_slices(moving)
    first, other = request([8, 9]), request([8, 9], epoch=5, batch=7)
    assert not same(moving.batch(first).slices, moving.batch(other).slices)
    assert same(fixed.batch(first), fixed.batch(other))
    later = fixed.batch(request([9]))
    assert torch.equal(later.keys, fixed.batch(first).keys[-len(later.keys) :])
    assert fixed.sliced
    assert not moving.sliced


def test_a_dataset_of_slices_pickles_and_moves_with_its_slices(cohort_store: Store) -> None:
    slices = dataset(cohort_store, replace(RULE, beside=True))
    batch = slices.batch(request([1, 2]))
    again = pickle.loads(pickle.dumps(slices)).batch(request([1, 2]))
    assert same(batch.slices, again.slices)
    travelled = pickle.loads(pickle.dumps(batch)).to("cpu").double()
    assert travelled.slices.values.dtype == torch.float64
    assert travelled.slices.plan.slices == 5


def test_a_budget_of_elements_counts_slices(cohort_store: Store) -> None:
    plain = dataset(cohort_store, None).n_elements
    assert (dataset(cohort_store, SliceRule(4, 0.5, 0.5)).n_elements >= plain).all()
    both = dataset(cohort_store, SliceRule(4, 0.5, 0.5, beside=True))
    alone = dataset(cohort_store, SliceRule(4, 0.5, 0.5))
    assert np.array_equal(both.n_elements, alone.n_elements + plain)
