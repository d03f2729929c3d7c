"""How much latents can know of their sets at most: E[KL] - KL_G, a bound that does not saturate.

I(x; z) = E[KL(q(z|x) || p)] - KL(q(z) || p), and no distribution with the moments m, S of the
aggregate posterior q(z) is closer to N(0, I) than the Gaussian with these, whose distance is

    KL_G = (tr S + m'm - d - log det S) / 2        S = Cov(mean) + diag(E[variance])
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from setvae_cli.monitor.groups import Interval, bootstrap
from setvae_cli.monitor.moments import GroupMoments


@dataclass(frozen=True)
class Aggregate:
    """What the aggregate posterior says, nats a set, with intervals over subjects.

    A finite sample makes S look smaller in some directions, and KL_G larger by about
    d(d+1)/(4N); the bootstrap knows by how much at the means' own share of S, and counts subjects.

    Attributes:
        information: Upper bound E[KL] - KL_G.
        gaussian_kl: KL_G.
    """

    information: Interval
    gaussian_kl: Interval


def aggregate(
    means: GroupMoments,
    kl: Float[Tensor, "groups"],
    variance: Float[Tensor, "groups latent"],
    subjects: Float[Tensor, "groups"],
) -> Aggregate | None:
    """The bound of one level; reads the device.

    Args:
        means: Moments of residual posterior means.
        kl: Sum over sets of raw KL.
        variance: Sum over sets of residual variances.
        subjects: Subjects in each group.

    Returns:
        None while subjects fill fewer than two groups.
    """
    moments, kl, variance = means.weighted(), kl.cpu(), variance.cpu()

    def both(weights: Tensor) -> Tensor:
        sets = (weights @ moments.count)[:, None]
        spread = moments.covariance(weights) + torch.diag_embed(weights @ variance / sets)
        distance = gaussian_kl(moments.mean(weights), spread)
        return torch.stack([weights @ kl / sets[:, 0] - distance, distance], 1)

    found = bootstrap(both, subjects)
    return Aggregate(*found) if found else None


def gaussian_kl(
    mean: Float[Tensor, "some latent"], covariance: Float[Tensor, "some latent latent"]
) -> Float[Tensor, "some"]:
    """KL(N(mean, covariance) || N(0, I)), nats."""
    factor, _ = torch.linalg.cholesky_ex(covariance)
    logarithms = 2 * factor.diagonal(dim1=-2, dim2=-1).log()
    variances = covariance.diagonal(dim1=-2, dim2=-1)
    total: Tensor = (variances - 1 - logarithms + mean.square()).sum(-1)
    return 0.5 * total
