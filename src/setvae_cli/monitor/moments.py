"""Means and covariances of a stream of sets, by groups of subjects (Chan, Golub, LeVeque 1983).

    batch -> mean of each group in it -> scatter around that mean -> merged into the group's own

Sets are never held: a group keeps a count, a mean and a scatter matrix, in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from setvae_cli.data.batch import Plan
from setvae_cli.nn.ragged import segment_sum, to_rectangles


class GroupMoments:
    """Counts, means and scatter matrices of groups.

    Args:
        groups: Number of groups.
        dim: Numbers a set.
        device: Where they are kept.
    """

    def __init__(self, groups: int, dim: int, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.count, self.mean, self.m2 = zeros(groups), zeros(groups, dim), zeros(groups, dim, dim)

    def update(
        self, x: Float[Tensor, "sets dim"], plan: Plan, group: Int64[Tensor, "subjects"]
    ) -> None:
        """Add a batch.

        Args:
            x: One row a set, float64.
            plan: Of the batch.
            group: The group of each subject.
        """
        if len(self.count) == 1:
            self._update_only_group(x)
            return
        sizes = segment_sum(torch.ones_like(x[:, :1]), plan.set_subject, plan.subjects)
        together = (group[:, None] == group).double()
        first = 1 - together.tril(-1).amax(1, keepdim=True)  # one subject speaks for its group
        added = together @ sizes
        centre = (together @ segment_sum(x, plan.set_subject, plan.subjects)) / added
        before = self.count.index_select(0, group)[:, None]
        shift = first * (centre - self.mean.index_select(0, group))
        after = before + added
        self._scatter(
            x - centre.index_select(0, plan.set_subject),
            shift * torch.sqrt(before * added / after),
            plan,
            group,
        )
        self.mean.index_add_(0, group, shift * (added / after))
        self.count.index_add_(0, group, sizes[:, 0])

    def merge(self, other: GroupMoments) -> None:
        """Add what another stream has seen."""
        after = (self.count + other.count).clamp_min(1e-300)
        shift = other.mean - self.mean
        weight = self.count * other.count / after
        self.m2 += other.m2 + shift[:, :, None] * shift[:, None, :] * weight[:, None, None]
        self.mean += shift * (other.count / after)[:, None]
        self.count += other.count

    def decay(self, factor: float) -> None:
        """Let what was seen so far count less."""
        self.count *= factor
        self.m2 *= factor

    def state(self) -> dict[str, Any]:
        """Tensors for a checkpoint."""
        return {"count": self.count.cpu(), "mean": self.mean.cpu(), "m2": self.m2.cpu()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> GroupMoments:
        """The moments that `state` described."""
        groups, dim = state["mean"].shape
        moments = cls(groups, dim, device)
        for name in ("count", "mean", "m2"):
            getattr(moments, name).copy_(state[name])
        return moments

    def weighted(self) -> WeightedMoments:
        """Moments of weighted groups; reads the device."""
        return WeightedMoments(self.count.cpu(), self.mean.cpu(), self.m2.cpu())

    def _update_only_group(self, x: Float[Tensor, "sets dim"]) -> None:
        before, added = self.count[0].clone(), len(x)
        centre = x.mean(0)
        shift, centred = centre - self.mean[0], x - centre
        between = shift * torch.sqrt(before * added / (before + added))
        self.m2[0] += centred.T @ centred + torch.outer(between, between)
        self.mean[0] += shift * (added / (before + added))
        self.count += added

    def _scatter(
        self,
        centred: Float[Tensor, "sets dim"],
        between: Float[Tensor, "subjects dim"],
        plan: Plan,
        group: Int64[Tensor, "subjects"],
    ) -> None:
        """Add outer products: one product of matrices a bucket of subjects."""
        rectangles = plan.by_subject
        for bucket, cells in zip(
            rectangles.buckets, to_rectangles(centred, rectangles), strict=True
        ):
            if bucket.mask is not None:
                cells = cells * bucket.mask[:, :, None]
            cells = torch.cat([cells, between.index_select(0, bucket.groups)[:, None]], 1)
            owner = group.index_select(0, bucket.groups)
            self.m2.index_add_(0, owner, cells.transpose(1, 2) @ cells)


class WeightedMoments:
    """Mean and covariance of a mixture of groups, for many rows of weights at once.

    Args:
        count, mean, m2: As `GroupMoments` keeps them, on the CPU.
    """

    def __init__(
        self,
        count: Float[Tensor, "groups"],
        mean: Float[Tensor, "groups dim"],
        m2: Float[Tensor, "groups dim dim"],
    ) -> None:
        self.count = count
        self.centre = (count @ mean) / count.sum()
        self._away = mean - self.centre
        outer = self._away[:, :, None] * self._away[:, None, :] * count[:, None, None]
        self._scatter = (m2 + outer).flatten(1)

    def mean(self, weights: Float[Tensor, "some groups"]) -> Float[Tensor, "some dim"]:
        """Means over sets."""
        return self.centre + self._offset(weights)

    def covariance(self, weights: Float[Tensor, "some groups"]) -> Float[Tensor, "some dim dim"]:
        """Covariances over sets, divided by the count."""
        offset, dim = self._offset(weights), len(self.centre)
        scatter = (weights @ self._scatter) / (weights @ self.count)[:, None]
        return scatter.view(-1, dim, dim) - offset[:, :, None] * offset[:, None, :]

    def _offset(self, weights: Float[Tensor, "some groups"]) -> Float[Tensor, "some dim"]:
        weighted = weights * self.count
        return (weighted @ self._away) / weighted.sum(1, keepdim=True)
