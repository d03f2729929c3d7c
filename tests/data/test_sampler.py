from __future__ import annotations

import time
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from setvae_cli.data.sampler import BatchRequest, EpochSampler, share
from setvae_cli.errors import InputError

SIZES = np.random.default_rng(0).integers(1, 1000, 103)
LABELLED = np.random.default_rng(1).random((103, 2)) < 0.7


def sampler(
    n: int = 103, batch_size: int = 8, accumulation: int = 2, *, seed: int = 0,
    shuffle: bool = True, batching: Literal["shuffle", "length"] = "shuffle", rank: int = 0,
    world: int = 1,
) -> EpochSampler:  # fmt: skip
    return EpochSampler(
        SIZES[:n], LABELLED[:n], batch_size, accumulation, seed=seed, shuffle=shuffle,
        batching=batching, rank=rank, world=world,
    )  # fmt: skip


@given(
    n=st.integers(4, 103),
    batch_size=st.integers(1, 20),
    batching=st.sampled_from(["shuffle", "length"]),
    shuffle=st.booleans(),
    world=st.integers(1, 4),
)
def test_every_item_is_in_an_epoch_once_and_ranks_slice_one_order(
    n: int, batch_size: int, batching: Literal["shuffle", "length"], shuffle: bool, world: int
) -> None:
    ranks = [
        sampler(n, batch_size, batching=batching, shuffle=shuffle, rank=rank, world=world)
        for rank in range(world)
    ]
    requests = [list(rank) for rank in ranks]
    assert {len(rank) for rank in requests} == {len(ranks[0])}
    joined = []
    for parts in zip(*requests, strict=True):
        assert {part.batch for part in parts} == {parts[0].batch}
        assert all(len(part.rows) for part in parts)
        assert np.concatenate([p.places for p in parts]).tolist() == list(
            range(sum(len(p.rows) for p in parts))
        )
        joined.extend(np.concatenate([part.rows for part in parts]).tolist())
    assert joined == ranks[0].order(0).tolist()
    assert sorted(joined) == list(range(n))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert sampler().order(3).tolist() == sampler().order(3).tolist()
    assert sampler().order(3).tolist() != sampler().order(4).tolist()
    assert sampler().order(3).tolist() != sampler(seed=1).order(3).tolist()
    assert sampler(shuffle=False).order(3).tolist() == list(range(103))


def test_batches_by_length_hold_similar_lengths() -> None:
    def spread(batching: Literal["shuffle", "length"]) -> float:
        return float(np.mean([np.ptp(SIZES[r.rows]) for r in sampler(batching=batching)]))

    assert spread("length") < spread("shuffle") / 3


def test_a_step_counts_all_its_subjects_and_labels() -> None:
    requests = list(sampler(accumulation=3))
    for first in range(0, len(requests), 3):
        step = requests[first : first + 3]
        rows = np.concatenate([request.rows for request in step])
        for request in step:
            assert request.step_subjects == len(rows)
            assert request.step_labelled == tuple(LABELLED[rows].sum(0).tolist())


def test_an_epoch_can_begin_in_the_middle() -> None:
    whole, rest = list(sampler()), sampler()
    rest.start = 5
    for one, other in zip(whole[5:], rest, strict=True):
        assert one.rows.tolist() == other.rows.tolist()
        assert (one.batch, one.step_subjects) == (other.batch, other.step_subjects)
    assert len(rest) == len(whole)


def test_fewer_subjects_than_devices_are_refused() -> None:
    with pytest.raises(InputError, match="3 subjects cannot be shared by 4 devices"):
        sampler(3, world=4)


Batching = Literal["shuffle", "length"]
sizes_of_subjects = st.lists(st.integers(1, 60), min_size=1, max_size=80)
batchings = st.sampled_from(["shuffle", "length"])


def budgeted(sizes: list[int], budget: int, **options: Any) -> EpochSampler:
    labelled = np.arange(len(sizes))[:, None] % 3 > 0
    options = {"seed": 0} | options
    return EpochSampler(np.array(sizes), labelled, 4, 2, max_elements=budget, **options)


def taken(sampler: EpochSampler, epoch: int = 0) -> list[BatchRequest]:
    sampler.epoch = epoch
    return list(sampler)


@given(sizes_of_subjects, st.integers(1, 150), batchings, st.integers(0, 3), st.booleans())
def test_under_a_budget_every_subject_is_in_an_epoch_once_and_only_a_lone_one_is_above_it(
    sizes: list[int], budget: int, batching: Batching, epoch: int, shuffle: bool
) -> None:
    requests = taken(budgeted(sizes, budget, batching=batching, shuffle=shuffle), epoch)
    for number, request in enumerate(requests):
        assert request.batch == number
        assert request.places.tolist() == list(range(len(request.rows)))
        total = sum(sizes[row] for row in request.rows)
        assert total <= budget or len(request.rows) == 1
    assert sorted(row for r in requests for row in r.rows.tolist()) == list(range(len(sizes)))


@given(sizes_of_subjects, st.integers(1, 150), st.booleans())
def test_the_next_subject_in_the_order_would_not_have_fitted(
    sizes: list[int], budget: int, shuffle: bool
) -> None:
    batches = [request.rows for request in taken(budgeted(sizes, budget, shuffle=shuffle))]
    for batch, after in pairwise(batches):
        assert sum(sizes[row] for row in batch) + sizes[after[0]] > budget


@given(sizes_of_subjects, st.integers(1, 150))
def test_by_length_the_next_longer_subject_of_the_pool_would_not_have_fitted(
    sizes: list[int], budget: int
) -> None:
    sampler = budgeted(sizes, budget, batching="length")
    assume(sampler._pool >= len(sizes))
    *full, last = [[sizes[row] for row in request.rows] for request in taken(sampler)]
    ordered = [*sorted(full, key=lambda batch: (batch[0], batch[-1], -len(batch))), last]
    assert [size for batch in ordered for size in batch] == sorted(sizes)
    for batch, after in pairwise(ordered):
        assert sum(batch) + after[0] > budget


@given(sizes_of_subjects, st.integers(1, 150), batchings, st.integers(1, 5))
def test_batches_under_a_budget_are_a_function_of_seed_and_epoch_on_any_number_of_ranks(
    sizes: list[int], budget: int, batching: Batching, world: int
) -> None:
    assume(len(sizes) >= world)
    alone = budgeted(sizes, budget, batching=batching)
    again = budgeted(sizes, budget, batching=batching, world=world)
    for epoch in (2, 0, 1):
        assert alone.order(epoch).tolist() == again.order(epoch).tolist()
    ends = [alone.cut(epoch).ends.tolist() for epoch in (0, 1, 0)]
    assert ends[0] == ends[2]
    assert alone.batches(1) == len(taken(alone, 1)) == len(ends[1]) - 1


@given(sizes_of_subjects, st.integers(1, 150), batchings, st.integers(2, 5))
def test_under_a_budget_ranks_share_global_batches_and_none_is_empty(
    sizes: list[int], budget: int, batching: Batching, world: int
) -> None:
    assume(len(sizes) >= world)
    ranks = [budgeted(sizes, budget, batching=batching, rank=r, world=world) for r in range(world)]
    requests = [taken(rank) for rank in ranks]
    assert {len(rank) for rank in requests} == {len(ranks[0])}
    joined: list[int] = []
    for parts in zip(*requests, strict=True):
        assert len({(part.batch, part.step_subjects, part.step_labelled) for part in parts}) == 1
        places = np.concatenate([part.places for part in parts])
        assert places.tolist() == list(range(len(places)))
        for part in parts:
            assert len(part.rows)
            total = sum(sizes[row] for row in part.rows)
            # The last of all: fewer subjects are left than ranks, and no batch before has some.
            left_over = parts[0].batch == len(ranks[0]) - 1 and len(places) < 2 * world
            assert total <= budget or len(part.rows) == 1 or left_over
        joined += [row for part in parts for row in part.rows.tolist()]
    assert joined == ranks[0].order(0).tolist()
    assert sorted(joined) == list(range(len(sizes)))


@given(sizes_of_subjects, st.integers(1, 150), st.integers(1, 4), st.integers(1, 3))
def test_a_step_under_a_budget_counts_all_its_subjects_and_labels(
    sizes: list[int], budget: int, accumulation: int, world: int
) -> None:
    assume(len(sizes) >= world)
    labelled = np.random.default_rng(0).random((len(sizes), 2)) < 0.6
    ranks = [
        list(
            EpochSampler(
                np.array(sizes), labelled, 4, accumulation, max_elements=budget, seed=0,
                rank=rank, world=world,
            )
        )
        for rank in range(world)
    ]  # fmt: skip
    for first in range(0, len(ranks[0]), accumulation):
        step = [request for rank in ranks for request in rank[first : first + accumulation]]
        rows = np.concatenate([request.rows for request in step])
        for request in step:
            assert request.step_subjects == len(rows)
            assert request.step_labelled == tuple(labelled[rows].sum(0).tolist())


def test_a_global_batch_gives_subjects_to_ranks_that_would_have_none() -> None:
    assert share(np.array([0, 3, 6, 7]), 2).tolist() == [0, 3, 5, 6, 7]
    assert share(np.array([0, 1, 2, 3]), 2).tolist() == [0, 2, 3]
    assert share(np.array([0, 5]), 3).tolist() == [0, 2, 3, 5]


def test_batches_by_length_under_a_budget_hold_similar_lengths() -> None:
    def spread(batching: Batching) -> float:
        requests = taken(budgeted(SIZES.tolist(), 3000, batching=batching))
        return float(np.mean([np.ptp(SIZES[request.rows]) for request in requests]))

    assert spread("length") < spread("shuffle") / 3


def test_an_epoch_is_cut_once_however_often_its_length_is_asked_for() -> None:
    one = budgeted(SIZES.tolist(), 3000)
    cut = one.cut(1)
    assert one.cut(1) is cut
    one.epoch = 1
    assert len(one) == len(cut.ends) - 1
    assert one.cut(1) is cut


def test_the_batches_of_many_epochs_are_counted_in_no_time() -> None:
    sizes = np.random.default_rng(0).integers(20, 1000, 100_000)
    sampler = budgeted(sizes.tolist(), 8000)
    began = time.process_time()
    counts = [sampler.batches(epoch) for epoch in range(20)]
    assert time.process_time() - began < 2
    assert len(set(counts)) > 1
