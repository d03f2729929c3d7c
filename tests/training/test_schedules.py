"""Schedules are pure functions of the step, with known values."""

import itertools

import pytest

from setvae_cli.training.schedules import (
    averaging_decay,
    dropout_seed,
    lr_factor,
    planned_steps,
    validation_interval,
)


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (55, 0.5), (40, 0.75), (100, 0.0), (200, 0.0)],
)
def test_cosine_with_warm_up_has_its_known_values(step, factor):
    assert lr_factor(step, 100, warmup=0.1, cosine=True) == pytest.approx(factor, abs=1e-4)


def test_a_warm_up_above_one_counts_steps_and_below_one_is_a_share():
    for step in range(50):
        assert lr_factor(step, 100, warmup=20, cosine=True) == lr_factor(
            step, 100, warmup=0.2, cosine=True
        )


def test_without_cosine_the_rate_stays():
    assert lr_factor(99, 100, warmup=0, cosine=False) == 1.0


def test_the_average_forgets_its_start_and_reaches_its_decay():
    assert averaging_decay(1, 0.98) == pytest.approx(2 / 11)
    assert averaging_decay(10_000, 0.98) == 0.98
    decays = [averaging_decay(step, 0.98) for step in range(1, 1000)]
    assert decays == sorted(decays)


def test_no_two_micro_batches_share_a_dropout_seed():
    grid = itertools.product(range(3), range(10), range(50), range(2))
    seeds = [dropout_seed(*place) for place in grid]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_planned_steps_count_the_smaller_last_step_of_an_epoch():
    assert planned_steps([175] * 10, 2, None) == (880, 10)
    assert planned_steps([175] * 10, 2, 100) == (100, 2)
    assert planned_steps([7, 8, 9], 2, None) == (13, 3)
    assert planned_steps([7, 8, 9], 2, 4) == (4, 1)


@pytest.mark.parametrize(
    ("interval", "batches", "accumulation", "expected"),
    [(1.0, 175, 2, 175), (0.25, 175, 2, 42), (0.001, 175, 2, 2), (50, 175, 4, 48), (999, 8, 2, 8)],
)
def test_validations_fall_between_whole_steps(interval, batches, accumulation, expected):
    assert validation_interval(interval, batches, accumulation) == expected
