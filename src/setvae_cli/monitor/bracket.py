"""Two bounds on I(x; z) from a sample of M sets (Poole et al. 2019, section 2).

    lower: E log q(z_i|x_i) / mean_j q(z_i|x_j)            InfoNCE; never above log M
    upper: E log q(z_i|x_i) / mean_{j != i} q(z_i|x_j)     leave one out

Near log M the lower bound says nothing more, and the upper one is loose: both are given, never one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from setvae_cli.monitor.sample import SetSample

FEWEST_SETS = 256
DRAWS = 2


@dataclass(frozen=True)
class Bracket:
    """Bounds on the information of latents about their sets, nats a set.

    Attributes:
        low, high: The bounds.
        sets: M.
    """

    low: float
    high: float
    sets: int

    @property
    def ceiling(self) -> float:
        """log M, which the lower bound cannot pass."""
        return math.log(self.sets)

    @property
    def saturated(self) -> bool:
        """Whether the lower bound lies so near its ceiling that the truth may be far above."""
        return self.low > self.ceiling - 1

    def words(self) -> str:
        """One clause.

        >>> Bracket(5.4, 11.0, 256).words()
        '5.4 to 11.0 nats, saturated: 256 sets show at most 5.5'
        """
        said = f"{self.low:.1f} to {self.high:.1f} nats"
        most = f", saturated: {self.sets} sets show at most {self.ceiling:.1f}"
        return said + (most if self.saturated else "")


def bracket(sample: SetSample) -> Bracket | None:
    """The bounds over a sample; reads the device. None below 256 sets."""
    sets = len(sample.row)
    if sets < FEWEST_SETS:
        return None
    ends = torch.stack([_bounds(sample, draw) for draw in range(DRAWS)]).mean(0).tolist()
    return Bracket(ends[0], ends[1], sets)


def _bounds(sample: SetSample, draw: int) -> Float[Tensor, "2"]:
    """InfoNCE and leave-one-out with one latent drawn for each set."""
    z = sample.mean + torch.exp(0.5 * sample.logvar) * sample.noise(draw)
    density = log_densities(z, sample.mean, sample.logvar)
    own, sets = density.diagonal(), len(density)
    others = density - torch.diag_embed(torch.full_like(own, torch.inf))
    lower = own - torch.logsumexp(density, 1) + math.log(sets)
    upper = own - torch.logsumexp(others, 1) + math.log(sets - 1)
    return torch.stack([lower.mean(), upper.mean()])


def log_densities(
    z: Float[Tensor, "sampled latent"],
    mean: Float[Tensor, "sampled latent"],
    logvar: Float[Tensor, "sampled latent"],
) -> Float[Tensor, "sampled sampled"]:
    """log q(z_i|x_j) less a constant, as products of matrices."""
    precision = torch.exp(-logvar)
    squares = z.square() @ precision.T - 2 * z @ (mean * precision).T
    return -0.5 * (squares + (mean.square() * precision + logvar).sum(1))
