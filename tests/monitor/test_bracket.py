"""Minibatch bounds: they hold the truth between them where they can, and say where they cannot."""

from __future__ import annotations

import math

import pytest
import torch

from setvae_cli.monitor.bracket import bracket, log_densities
from setvae_cli.monitor.groups import GROUPS, bootstrap, group_of, replicate_weights
from setvae_cli.monitor.paired import PairedStream
from tests.monitor.known import CPU, Case, case, gap_of, make_batches, stream


def linear(d: int, variance: float) -> Case:
    ones = torch.ones(d, dtype=torch.float64)
    return Case(ones * math.sqrt(1 - variance), ones * variance)


@pytest.mark.parametrize(("d", "variance"), [(2, 0.3), (8, 0.6), (32, 0.9)])
def test_the_bracket_holds_the_true_information(d: int, variance: float) -> None:
    truth = -0.5 * d * math.log(variance)
    found = bracket(stream(make_batches(linear(d, variance), subjects=2000, per=1, seed=0)).sample)
    assert found.low - 0.15 < truth < found.high + 0.15
    assert found.high - found.low < 0.5
    assert not found.saturated
    assert found.sets == 512


def test_it_says_so_where_log_m_is_reached() -> None:
    found = bracket(stream(make_batches(linear(32, 0.5), subjects=600, per=1, seed=0)).sample)
    assert found.low < math.log(512) < -16 * math.log(0.5) < found.high + 1
    assert found.saturated
    assert "saturated: 512 sets show at most 6.2" in found.words()


def test_a_collapsed_posterior_has_a_bracket_at_zero() -> None:
    batches = make_batches(case("constant shifted mean", 8), subjects=300, per=1, seed=0)
    found = bracket(stream(batches).sample)
    assert abs(found.low) < 0.01
    assert abs(found.high) < 0.01


def test_few_sets_have_no_bracket() -> None:
    batches = make_batches(case("healthy", 4), subjects=255, per=1, seed=0)
    assert bracket(stream(batches).sample) is None


def test_densities_equal_torch_distributions() -> None:
    z, mean, logvar = torch.randn(3, 5, 4, dtype=torch.float64)
    normal = torch.distributions.Normal(mean, (logvar / 2).exp())
    expected = normal.log_prob(z[:, None]).sum(-1) + 2 * math.log(2 * math.pi)
    torch.testing.assert_close(log_densities(z, mean, logvar), expected)


def test_a_sample_is_uniform_over_sets_and_the_same_in_any_order() -> None:
    batches = make_batches(case("healthy", 2), subjects=4000, per=2, seed=0)
    one, other = stream(batches).sample, stream(batches[::-1]).sample
    assert torch.equal(one.mean, other.mean)
    assert float(one.row.double().mean()) == pytest.approx(2000, abs=250)
    assert float(one.place.double().mean()) == pytest.approx(0.5, abs=0.1)


def test_subjects_fall_evenly_into_groups() -> None:
    counts = torch.bincount(group_of(torch.arange(64_000)), minlength=GROUPS)
    assert counts.min() > 850
    assert counts.max() < 1150


def test_a_bootstrap_of_a_mean_equals_its_standard_error() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(GROUPS, generator=generator, dtype=torch.float64)

    def mean(weights: torch.Tensor) -> torch.Tensor:
        return (weights @ values / weights.sum(1))[:, None]

    (found,) = bootstrap(mean, torch.ones(GROUPS), replicates=2000)
    error = float(values.std()) / math.sqrt(GROUPS)
    assert found.value == pytest.approx(float(values.mean()), abs=0.1 * error)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_empty_groups_have_no_weight_and_one_group_has_no_interval() -> None:
    taken = torch.tensor([2.0, 0, 1])
    assert replicate_weights(taken)[:, 1].abs().max() == 0
    assert bootstrap(lambda weights: weights[:, :1], torch.tensor([3.0, 0, 0])) == []


def test_a_gap_is_about_zero_only_if_it_is_small_and_covers_zero() -> None:
    batches = make_batches(case("healthy", 2), subjects=200, per=3, seed=0)
    assert gap_of(batches, 0.0, 0).result().about_zero
    assert gap_of(batches, 0.01, 0).result().about_zero
    assert not gap_of(batches, 0.15, 0).result().about_zero  # under 1 % of 20, but not 0
    assert not gap_of(batches, 2.0, 0).result().about_zero
    wild = PairedStream(CPU)
    for batch in batches:
        noise = 30 * torch.randn(batch.plan.sets, dtype=torch.float64) + 3
        zeros = torch.zeros_like(noise)
        wild.update(zeros + 20, 20 + noise, batch.plan, group_of(batch.rows))
    assert not wild.result().about_zero  # covers 0, but may be large
