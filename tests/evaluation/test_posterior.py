"""Posterior measures: golden values, and any split of a stream gives the same."""

from dataclasses import dataclass

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from setvae_cli.evaluation.posterior import LevelStream, PosteriorStream, raw_kl


@dataclass
class Gaussian:
    mean: torch.Tensor
    logvar: torch.Tensor


def draw(sets, latent, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Gaussian(*torch.randn(2, sets, latent, generator=generator))


def test_kl_of_a_shifted_gaussian_is_half_its_squared_shift():
    zero = torch.zeros(1, 1)
    assert raw_kl(zero + 2, zero, zero, zero).item() == 2.0


def test_kl_equals_torch_distributions():
    q, p = draw(50, 4, 1), draw(50, 4, 2)
    expected = kl_divergence(
        Normal(q.mean.double(), (q.logvar.double() / 2).exp()),
        Normal(p.mean.double(), (p.logvar.double() / 2).exp()),
    )
    torch.testing.assert_close(
        raw_kl(q.mean, q.logvar, p.mean, p.logvar), expected, rtol=1e-12, atol=1e-12
    )


def test_kl_keeps_its_digits_where_posterior_and_prior_agree():
    zero = torch.zeros(1, 1, dtype=torch.float64)
    assert raw_kl(zero, zero + 1e-9, zero, zero).item() == pytest.approx(2.5e-19, rel=1e-3)


def test_a_unit_is_active_when_its_mean_varies_by_more_than_a_hundredth():
    spread = torch.tensor([0.0, 0.09, 0.11, 3.0])
    mean = torch.tensor([[-1.0], [0.0], [1.0]]) * spread
    stream = PosteriorStream(free_bits=0.25)
    stream.update([Gaussian(mean, torch.zeros(3, 4))], [Gaussian(mean, torch.zeros(3, 4))])
    (level,) = stream.result()
    assert (level.active, level.latent, level.sets) == (2, 4, 3)
    assert level.kl_nats == 0.0
    assert level.floor == 1.0


def test_any_split_of_the_stream_gives_the_same_measures():
    q, p = draw(101, 6, 3), draw(101, 6, 4)
    q.mean += 1e4  # a large common mean is what naive variance loses
    whole, parts, merged = LevelStream(), LevelStream(), LevelStream()
    whole.update(q, p)
    for first, last in [(0, 1), (1, 1), (1, 40), (40, 101)]:
        piece = Gaussian(q.mean[first:last], q.logvar[first:last])
        prior = Gaussian(p.mean[first:last], p.logvar[first:last])
        parts.update(piece, prior)
        alone = LevelStream()
        alone.update(piece, prior)
        merged.merge(alone)
    expected = q.mean.double().var(dim=0)
    for stream in (whole, parts, merged):
        assert stream.sets == 101
        torch.testing.assert_close(stream.variance(), expected, rtol=1e-10, atol=0)
        torch.testing.assert_close(
            stream.kl_per_dimension(), whole.kl_per_dimension(), rtol=1e-12, atol=0
        )


def test_nothing_is_said_about_an_empty_stream():
    assert PosteriorStream(0.0).result() == ()
    stream = LevelStream()
    stream.update(draw(1, 2), draw(1, 2))
    assert stream.variance() is None
