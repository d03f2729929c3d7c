"""The posterior as the prior sees it: in units of the prior's own mean and standard deviation.

    mean = (mean_q - mean_p) / sigma_p        variance = sigma_q^2 / sigma_p^2

Against N(0, I) this is the posterior itself. Against a learned prior, a level that only repeats
what its prior says has residual N(0, I) for every set, where its plain mean varies and looks alive.
KL(q || p) equals KL(residual || N(0, I)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor


class Gaussian(Protocol):
    """A diagonal Gaussian a set; `nn.gaussian.DiagGaussian` is one."""

    @property
    def mean(self) -> Tensor: ...

    @property
    def logvar(self) -> Tensor: ...


@dataclass(frozen=True)
class Residual:
    """Residual posterior of each set, float64.

    Attributes:
        mean, logvar: Of the residual.
    """

    mean: Float[Tensor, "sets latent"]
    logvar: Float[Tensor, "sets latent"]

    @classmethod
    def of(cls, q: Gaussian, p: Gaussian) -> Residual:
        """The residual of q against p."""
        q_mean, q_logvar, p_mean, p_logvar = (
            part.detach().double() for part in (q.mean, q.logvar, p.mean, p.logvar)
        )
        return cls((q_mean - p_mean) * torch.exp(-0.5 * p_logvar), q_logvar - p_logvar)

    def variance(self) -> Float[Tensor, "sets latent"]:
        """Residual variances."""
        return self.logvar.exp()

    def kl(self) -> Float[Tensor, "sets latent"]:
        """Raw KL of each dimension, nats.

        expm1(r) - r keeps digits where q and p agree: exp(r) - 1 - r cancels.
        """
        return 0.5 * (torch.expm1(self.logvar) - self.logvar + self.mean.square())
