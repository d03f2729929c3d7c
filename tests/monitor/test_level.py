"""Measurements of closed-form Gaussian models equal their formulas, however the stream is cut."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from setvae_cli.data.batch import make_plan
from setvae_cli.monitor.level import LevelStream
from setvae_cli.monitor.moments import GroupMoments
from setvae_cli.monitor.residual import Residual
from setvae_cli.nn.gaussian import DiagGaussian
from tests.monitor.known import CPU, Case, case, make_batches, stream
from tests.nn.test_no_synchronisation import NoQuestions


def linear(d: int, variance: float) -> Case:
    """z = x + noise with z ~ N(0, I): I(x; z) = -d/2 log(variance) = E[KL]."""
    ones = torch.ones(d, dtype=torch.float64)
    return Case(ones * math.sqrt(1 - variance), ones * variance)


def test_kl_equals_torch_distributions_and_keeps_digits_near_the_prior() -> None:
    q, p = (DiagGaussian(*torch.randn(2, 50, 4, dtype=torch.float64)) for _ in range(2))
    expected = kl_divergence(
        Normal(q.mean, (q.logvar / 2).exp()), Normal(p.mean, (p.logvar / 2).exp())
    )
    torch.testing.assert_close(Residual.of(q, p).kl(), expected, rtol=1e-10, atol=1e-12)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    near = Residual.of(DiagGaussian(zero, zero + 1e-9), DiagGaussian(zero, zero)).kl()
    assert float(near) == pytest.approx(2.5e-19, rel=1e-3)


@pytest.mark.parametrize("d", [2, 8, 32])
@pytest.mark.parametrize("many", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_the_bound_brackets_the_true_information(d: int, many: int) -> None:
    truth, held = -0.5 * d * math.log(0.5), 0
    errors = []
    for seed in range(10):
        found = stream(make_batches(linear(d, 0.5), subjects=many * d, per=1, seed=seed))
        bound = found.result(1, 0.0).information
        held += bound.low <= truth <= bound.high
        errors.append((bound.value - truth) / (bound.high - bound.low))
    assert held >= 7
    assert abs(sum(errors) / 10) < 0.25  # without the correction: about -1 at d = 32


def test_kl_variance_and_active_units_equal_their_formulas() -> None:
    truth = case("half collapsed", 8)
    found = stream(make_batches(truth, subjects=4000, per=2, seed=0)).result(1, floor=0.8)
    expected = 0.5 * (truth.variance - 1 - truth.variance.log() + truth.spread.square())
    torch.testing.assert_close(
        torch.tensor(found.dimensions.kl).double(), expected, rtol=0.05, atol=1e-3
    )
    assert found.dimensions.active == [True] * 3 + [False] * 5
    assert found.dimensions.used == found.dimensions.active
    assert found.dimensions.matched == [not active for active in found.dimensions.active]
    assert found.dimensions.collapsed == found.dimensions.matched
    assert not any(found.dimensions.over_sharp)
    assert (found.sets, found.subjects, found.floor) == (8000, 4000, 0.8)


def test_a_histogram_counts_every_set_and_splits_at_a_hundredth() -> None:
    spread = torch.tensor([[0.1], [0.2], [3.0]], dtype=torch.float64)  # KL .005, .02, 4.5
    q = DiagGaussian(spread, torch.zeros_like(spread))
    level = LevelStream(1, CPU)
    plan = make_plan(torch.ones(3).long(), torch.tensor([3]), with_sets=False)
    level.update(q, DiagGaussian.standard_like(q), plan, torch.tensor([5]))
    (counts,) = level.dimensions().histogram
    assert counts == [0, 0, 1, 1, 0, 0, 0, 0, 1, 0]


def test_a_unit_is_active_when_its_mean_varies_by_more_than_a_hundredth() -> None:
    mean = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64) * torch.tensor([0, 0.11, 0.13])
    q = DiagGaussian(mean, torch.zeros_like(mean))
    level = LevelStream(3, CPU)
    plan = make_plan(torch.ones(3).long(), torch.ones(3).long(), with_sets=False)
    level.update(q, DiagGaussian.standard_like(q), plan, torch.arange(3))
    assert level.dimensions().active == [False, False, True]


def test_a_level_that_repeats_its_learned_prior_is_dead() -> None:
    batches = make_batches(case("dead lower level", 8), subjects=200, per=3, seed=1)
    plain = torch.cat([batch.q.mean for batch in batches]).var(0)
    found = stream(batches).result(1, 0.0)
    assert plain.min() > 1
    assert found.active == 0
    assert found.kl < 0.01


def test_shards_merge_into_one_pass() -> None:
    batches = make_batches(case("half collapsed", 8), subjects=300, per=3, seed=2, at_once=7)
    for batch in batches:
        batch.q.mean.add_(1e3)  # a large common mean is what naive variance loses
    whole, merged = stream(batches), stream(batches[::3])
    for shard in (1, 2):
        merged.merge(stream(batches[shard::3]))
    _same(whole, merged)


def test_the_order_of_batches_changes_nothing_beyond_rounding() -> None:
    batches = make_batches(case("healthy", 8), subjects=300, per=3, seed=3, at_once=7)
    _same(stream(batches), stream(batches[::-1]))


def test_a_stream_goes_on_bit_for_bit_from_its_state(tmp_path) -> None:
    batches = make_batches(case("healthy", 8), subjects=200, per=3, seed=4)
    whole, half = stream(batches), stream(batches[:2])
    torch.save(half.state(), tmp_path / "state")
    resumed = LevelStream.from_state(torch.load(tmp_path / "state", weights_only=True), CPU)
    for batch in batches[2:]:
        resumed.update(batch.q, batch.p, batch.plan, batch.rows)
    assert resumed.result(1, 0.0) == whole.result(1, 0.0)
    _same(whole, resumed, rtol=0)


def test_group_moments_equal_the_covariance_of_what_was_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    moments, seen = GroupMoments(3, 4, CPU), []
    for sizes in ([2, 1, 5], [1], [4, 4]):
        plan = make_plan(torch.ones(sum(sizes)).long(), torch.tensor(sizes), with_sets=False)
        x = 1e4 + torch.randn(sum(sizes), 4, generator=generator, dtype=torch.float64)
        moments.update(x, plan, torch.tensor([0, 2, 0][: len(sizes)]))
        seen.append(x)
    everyone = torch.ones(1, 3, dtype=torch.float64)
    found = moments.weighted().covariance(everyone)[0]
    torch.testing.assert_close(found, torch.cat(seen).T.cov(correction=0), rtol=1e-9, atol=1e-12)
    assert moments.count.tolist() == [12, 0, 5]


def test_an_empty_level_says_nothing() -> None:
    assert LevelStream(3, CPU).result(1, 0.0) is None


def test_an_update_asks_the_device_for_no_number() -> None:
    batch, level = (
        make_batches(case("healthy", 4), subjects=5, per=2, seed=0)[0],
        LevelStream(4, CPU),
    )
    with NoQuestions():
        level.update(batch.q, batch.p, batch.plan, batch.rows)


def _same(one: LevelStream, other: LevelStream, rtol: float = 1e-10) -> None:
    close = {"rtol": rtol, "atol": rtol}
    for name in ("count", "mean", "m2"):
        torch.testing.assert_close(getattr(one.means, name), getattr(other.means, name), **close)
    for name in ("sums", "subjects", "histogram"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), **close)
    for name in ("key", "row", "place", "mean", "logvar"):
        assert torch.equal(getattr(one.sample, name), getattr(other.sample, name))
