"""The KL term: raw, and with free bits a dimension."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from setvae_cli.nn.gaussian import DiagGaussian


def kl_levels(
    posteriors: tuple[DiagGaussian, ...], priors: tuple[DiagGaussian, ...], free_bits: float
) -> tuple[Float[Tensor, "levels"], Float[Tensor, "levels"]]:
    """KL of each level summed over sets and dimensions, in nats: raw, and as the objective has it.

    Free bits hold for each dimension of each set: max(KL, free_bits) (Kingma et al. 2016, appendix
    C.8; Li et al. 2019). Clamping the sum over dimensions instead would free most of them at once.

    Returns:
        Raw KL, and KL with free bits.
    """
    each = [q.kl(p) for q, p in zip(posteriors, priors, strict=True)]
    raw = torch.stack([kl.sum() for kl in each])
    if free_bits == 0:
        return raw, raw
    return raw, torch.stack([kl.clamp_min(free_bits).sum() for kl in each])
