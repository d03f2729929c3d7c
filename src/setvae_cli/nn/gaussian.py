"""Diagonal Gaussians: the posterior q and the prior p of a latent, with their closed forms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class DiagGaussian:
    """One diagonal Gaussian a set.

    Attributes:
        mean: Means.
        logvar: Logarithms of the variances.
    """

    mean: Float[Tensor, "sets latent"]
    logvar: Float[Tensor, "sets latent"]

    @classmethod
    def from_parameters(
        cls, parameters: Float[Tensor, "sets twice_latent"], lowest: float, highest: float
    ) -> DiagGaussian:
        """Split one tensor into mean and log-variance, the latter clipped to [lowest, highest].

        At least float32: in half precision, KL near the prior would be rounding error.
        """
        full = torch.promote_types(parameters.dtype, torch.float32)
        mean, logvar = parameters.to(full).chunk(2, dim=-1)
        return cls(mean, logvar.clamp(lowest, highest))

    @classmethod
    def standard_like(cls, other: DiagGaussian) -> DiagGaussian:
        """N(0, I) of the same shape."""
        return cls(torch.zeros_like(other.mean), torch.zeros_like(other.logvar))

    def sample(self, noise: Float[Tensor, "sets latent"] | None) -> Float[Tensor, "sets latent"]:
        """Mean plus sigma times the given standard normal noise; the mean without noise."""
        if noise is None:
            return self.mean
        return torch.addcmul(self.mean, torch.exp(0.5 * self.logvar), noise.to(self.mean))

    def kl(self, prior: DiagGaussian) -> Float[Tensor, "sets latent"]:
        """KL(self || prior) of each dimension in nats (Kingma and Welling 2014, appendix B)."""
        squared = (self.mean - prior.mean).square() + self.logvar.exp()
        return 0.5 * (prior.logvar - self.logvar + squared * torch.exp(-prior.logvar) - 1)
