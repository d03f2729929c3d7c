from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setvae_cli.data.sampler import EpochSampler
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
