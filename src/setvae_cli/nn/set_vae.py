"""The set VAE: a set becomes summaries, summaries become latents, top down.

elements -> block 1 -> block 2 ...      bottom up: one summary a level
summary 2 -> q(z_2)                     top down (Kim et al. 2021, "SetVAE"):
summary 1, z_2 -> q(z_1 | z_2)          lower levels see the latents above them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from setvae_cli.data.batch import Plan
from setvae_cli.nn.attention import (
    FeedForward,
    FullSetAttention,
    InducedSetAttention,
    SetPooling,
)
from setvae_cli.nn.gaussian import DiagGaussian


class BagEncoder(nn.Module):
    """Deep set (Zaheer et al. 2017) on summed elements: a residual MLP a level.

    Args:
        dim: Width of set vectors.
        ff_dim: Hidden width.
        levels: Summaries to return.
    """

    needs_set_plan = False

    def __init__(self, dim: int, ff_dim: int, levels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), FeedForward(dim, ff_dim)) for _ in range(levels)
        )

    def forward(self, summed: Float[Tensor, "sets dim"]) -> list[Float[Tensor, "sets dim"]]:
        """Summaries, lowest level first."""
        summaries, x = [], summed
        for block in self.blocks:
            x = x + block(x)
            summaries.append(x)
        return summaries


class AttentionEncoder(nn.Module):
    """Attention inside each set, a block and a pooled summary a level.

    Args:
        points: Inducing points; 0 for plain attention.
    """

    needs_set_plan = True

    def __init__(self, dim: int, heads: int, ff_dim: int, levels: int, points: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            InducedSetAttention(dim, heads, ff_dim, points)
            if points
            else FullSetAttention(dim, heads, ff_dim)
            for _ in range(levels)
        )
        self.pools = nn.ModuleList(SetPooling(dim, heads, ff_dim) for _ in range(levels))

    def forward(
        self, x: Float[Tensor, "elements dim"], plan: Plan
    ) -> list[Float[Tensor, "sets dim"]]:
        """Summaries, lowest level first."""
        assert plan.by_set is not None, "the loader made no set plan"
        summaries = []
        for block, pool in zip(self.blocks, self.pools, strict=True):
            x = block(x, plan.by_set)
            summaries.append(pool(x, plan.by_set))
        return summaries


@dataclass(frozen=True)
class Latents:
    """The latents of every set.

    Attributes:
        posteriors: q(z_l | ...), lowest level first.
        samples: z_l, in the same order; the means without noise.
        maps: A learned map of each z_l, in the same order.
        context: Sum of the maps: what later parts see of the latents.
    """

    posteriors: tuple[DiagGaussian, ...]
    samples: tuple[Float[Tensor, "sets latent"], ...]
    maps: tuple[Float[Tensor, "sets dim"], ...]
    context: Float[Tensor, "sets dim"]


class LatentLevels(nn.Module):
    """Posteriors and, when learned, priors of all levels.

    Args:
        dim: Width of summaries and of the context.
        latent_dim: Latent numbers a level.
        levels: Number of levels.
        learned_prior: Whether priors depend on the past and on the levels above.
        logvar_range: Clip of every log-variance.
    """

    def __init__(
        self,
        dim: int,
        latent_dim: int,
        levels: int,
        *,
        learned_prior: bool,
        logvar_range: tuple[float, float],
    ) -> None:
        super().__init__()
        self.latent_dim, self.logvar_range = latent_dim, logvar_range
        self.posterior = nn.ModuleList(nn.Linear(dim, 2 * latent_dim) for _ in range(levels))
        self.spread = nn.ModuleList(nn.Linear(latent_dim, dim, bias=False) for _ in range(levels))
        self.prior = (
            nn.ModuleList(
                nn.Sequential(
                    nn.LayerNorm(dim), FeedForward(dim, dim), nn.Linear(dim, 2 * latent_dim)
                )
                for _ in range(levels)
            )
            if learned_prior
            else None
        )

    def forward(
        self,
        summaries: Sequence[Float[Tensor, "sets dim"]],
        noise: Float[Tensor, "sets levels latent"] | None,
    ) -> Latents:
        """Infer all levels, top down.

        Args:
            summaries: One a level, lowest first.
            noise: Standard normal numbers; None for posterior means.
        """
        posteriors, samples, maps = [], [], []
        context: Tensor | None = None
        for level in reversed(range(len(summaries))):
            seen = summaries[level] if context is None else summaries[level] + context
            parameters = self.posterior[level](seen)
            posterior = DiagGaussian.from_parameters(parameters, *self.logvar_range)
            z = posterior.sample(None if noise is None else noise[:, level])
            mapped = self.spread[level](z)
            context = mapped if context is None else context + mapped
            posteriors.append(posterior)
            samples.append(z)
            maps.append(mapped)
        assert context is not None, "there is at least one level"
        return Latents(tuple(posteriors[::-1]), tuple(samples[::-1]), tuple(maps[::-1]), context)

    def replaced(
        self, latents: Latents, samples: Sequence[Float[Tensor, "sets latent"]]
    ) -> Latents:
        """The same posteriors with other latents, lowest level first."""
        maps = [spread(z) for spread, z in zip(self.spread, samples, strict=True)]
        context = maps[-1]
        for mapped in maps[-2::-1]:
            context = context + mapped
        return Latents(latents.posteriors, tuple(samples), tuple(maps), context)

    def priors(
        self, latents: Latents, past: Float[Tensor, "sets dim"] | None
    ) -> tuple[DiagGaussian, ...]:
        """p(z_l | z above, h before this set), lowest level first; N(0, I) when not learned."""
        if self.prior is None:
            return tuple(DiagGaussian.standard_like(q) for q in latents.posteriors)
        assert past is not None, "a learned prior needs the past"
        priors, context = [], past
        for level in reversed(range(len(latents.posteriors))):
            parameters = self.prior[level](context)
            priors.append(DiagGaussian.from_parameters(parameters, *self.logvar_range))
            if level:
                context = context + latents.maps[level]
        return tuple(priors[::-1])
