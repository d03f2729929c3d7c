"""How much the posteriors of each level carry, measured over a stream of batches in float64.

    KL       mean raw KL(q(z|x) || p(z)) a set, nats: before free bits and weights
    floor    what free bits leave free: KL near it says nothing about use
    active   latent dimensions whose posterior mean varies over sets by more than 0.01
             (Burda, Grosse and Salakhutdinov 2016, section 4.2)

Moments merge exactly (Chan, Golub and LeVeque 1983), so that batches may come in any sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from setvae_cli.evaluation.measures import LevelPosterior

ACTIVE_VARIANCE = 0.01


class Gaussian(Protocol):
    """A diagonal Gaussian a set; `nn.gaussian.DiagGaussian` is one."""

    @property
    def mean(self) -> Tensor: ...

    @property
    def logvar(self) -> Tensor: ...


def raw_kl(
    q_mean: Float[Tensor, "sets latent"],
    q_logvar: Float[Tensor, "sets latent"],
    p_mean: Float[Tensor, "sets latent"],
    p_logvar: Float[Tensor, "sets latent"],
) -> Float[Tensor, "sets latent"]:
    """KL(q || p) of diagonal Gaussians a dimension, nats, in float64."""
    q_mean, q_logvar, p_mean, p_logvar = (
        part.double() for part in (q_mean, q_logvar, p_mean, p_logvar)
    )
    ratio = q_logvar - p_logvar
    distance = (q_mean - p_mean).square() * torch.exp(-p_logvar)
    # expm1(r) - r keeps digits where q and p agree: exp(r) - 1 - r cancels.
    return 0.5 * (torch.expm1(ratio) - ratio + distance)


class LevelStream:
    """Running float64 moments of one level; nothing is read from the device before `result`."""

    def __init__(self) -> None:
        self.sets = 0
        self._kl: Tensor | None = None
        self._mean: Tensor | None = None
        self._m2: Tensor | None = None

    def update(self, q: Gaussian, p: Gaussian) -> None:
        """Add the sets of a batch: their posteriors and the priors these are measured against."""
        count = q.mean.shape[0]
        if not count:
            return
        mean = q.mean.detach().double()
        kl = raw_kl(q.mean.detach(), q.logvar.detach(), p.mean.detach(), p.logvar.detach())
        centre = mean.mean(dim=0)
        m2 = (mean - centre).square().sum(dim=0)
        self._merge(count, kl.sum(dim=0), centre, m2)

    def merge(self, other: LevelStream) -> None:
        """Add the sets that another stream has seen."""
        if other._kl is not None and other._mean is not None and other._m2 is not None:
            self._merge(other.sets, other._kl, other._mean, other._m2)

    def kl_per_dimension(self) -> Float[Tensor, "latent"] | None:
        """Mean raw KL a dimension, nats a set; None before the first set."""
        return None if self._kl is None else self._kl / self.sets

    def variance(self) -> Float[Tensor, "latent"] | None:
        """Variance over sets of each dimension's posterior mean; None below two sets."""
        return None if self._m2 is None or self.sets < 2 else self._m2 / (self.sets - 1)

    def _merge(self, count: int, kl: Tensor, mean: Tensor, m2: Tensor) -> None:
        if self._kl is None or self._mean is None or self._m2 is None:
            self.sets, self._kl, self._mean, self._m2 = count, kl, mean, m2
            return
        total = self.sets + count
        shift = mean - self._mean
        self._kl = self._kl + kl
        self._m2 = self._m2 + m2 + shift.square() * (self.sets * count / total)
        self._mean = self._mean + shift * (count / total)
        self.sets = total


class PosteriorStream:
    """One stream a level.

    Args:
        free_bits: Nats a dimension that the objective leaves free.
    """

    def __init__(self, free_bits: float) -> None:
        self.free_bits = free_bits
        self.levels: list[LevelStream] = []

    def update(self, posteriors: Sequence[Gaussian], priors: Sequence[Gaussian]) -> None:
        """Add a batch: posterior and prior of every level, top level first or last, as given."""
        if not self.levels:
            self.levels = [LevelStream() for _ in posteriors]
        for level, q, p in zip(self.levels, posteriors, priors, strict=True):
            level.update(q, p)

    def result(self) -> tuple[LevelPosterior, ...]:
        """The measures of every level; empty before the first set."""
        found = []
        for number, level in enumerate(self.levels, start=1):
            kl, variance = level.kl_per_dimension(), level.variance()
            if kl is None:
                continue
            active = 0 if variance is None else int((variance > ACTIVE_VARIANCE).sum())
            floor, total = self.free_bits * len(kl), float(kl.sum())
            found.append(LevelPosterior(number, total, floor, active, len(kl), level.sets))
        return tuple(found)
