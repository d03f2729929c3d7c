"""One level's posterior over a stream of batches, in float64 and without a second pass.

    active units        dimensions whose posterior mean varies over sets by more than 0.01
                        (Burda, Grosse and Salakhutdinov 2016, section 4.2)
    KL a dimension      raw: no beta, no free bits; above 0.1 nat it counts as used
                        (Vahdat and Kautz 2020)
    collapsed (Lucas)   dimensions with KL < 0.01 for at least 99 % of sets (Lucas et al. 2019,
                        definition 1: epsilon 0.01, delta 0.01)
    matched, over-sharp mean posterior variance within 0.05 of 1 and inactive; below 1e-4

All of it is about the residual posterior (residual.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from setvae_cli.data.batch import Plan
from setvae_cli.monitor.aggregate import aggregate
from setvae_cli.monitor.bracket import bracket
from setvae_cli.monitor.groups import GROUPS, group_of
from setvae_cli.monitor.measures import Dimensions, LevelMeasures
from setvae_cli.monitor.moments import GroupMoments
from setvae_cli.monitor.residual import Gaussian, Residual
from setvae_cli.monitor.sample import SetSample

ACTIVE_VARIANCE = 0.01
EPSILON, DELTA = 0.01, 0.01
USED_KL = 0.1
MATCHED_WITHIN = 0.05
OVER_SHARP = 1e-4
EDGES = (1e-4, 1e-3, EPSILON, 0.03, USED_KL, 0.3, 1.0, 3.0, 10.0)


class LevelStream:
    """Running sums of one level; nothing is read from the device before a result.

    Args:
        latent: Latent numbers a set.
        device: Where sums are kept.
        sampled: Whether to keep a sample of sets for the bracket.
        groups: Groups of subjects, each with a matrix of latents by latents.
    """

    def __init__(
        self, latent: int, device: torch.device, *, sampled: bool = True, groups: int = GROUPS
    ) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.means = GroupMoments(groups, latent, device)
        self.sums = zeros(groups, 3, latent)  # KL, residual variance, plain variance
        self.subjects = zeros(groups)
        self.histogram = zeros(latent, len(EDGES) + 1)
        self.sample = SetSample(latent, device) if sampled else None
        self._edges = torch.tensor(EDGES, dtype=torch.float64, device=device)

    def update(self, q: Gaussian, p: Gaussian, plan: Plan, rows: Int64[Tensor, "subjects"]) -> None:
        """Add a batch.

        Args:
            q, p: Posterior and prior of each set.
            plan: Of the batch.
            rows: Row number of each subject.
        """
        residual, group = Residual.of(q, p), group_of(rows, len(self.subjects))
        kl = residual.kl()
        columns = torch.stack([kl, residual.variance(), q.logvar.detach().double().exp()], 1)
        self.sums.index_add_(0, group.index_select(0, plan.set_subject), columns)
        self.subjects.index_add_(0, group, torch.ones_like(group, dtype=torch.float64))
        self._count(kl)
        self.means.update(residual.mean, plan, group)
        if self.sample is not None:
            self.sample.update(residual, plan, rows)

    def merge(self, other: LevelStream) -> None:
        """Add what another stream has seen."""
        self.means.merge(other.means)
        for name in ("sums", "subjects", "histogram"):
            getattr(self, name).add_(getattr(other, name))
        if self.sample is not None and other.sample is not None:
            self.sample.merge(other.sample)

    def decay(self, factor: float) -> None:
        """Let what was seen so far count less; a sample does not know how, and stays."""
        self.means.decay(factor)
        for name in ("sums", "subjects", "histogram"):
            getattr(self, name).mul_(factor)

    def state(self) -> dict[str, Any]:
        """Tensors for a checkpoint."""
        return {
            "means": self.means.state(),
            "sums": self.sums.cpu(),
            "subjects": self.subjects.cpu(),
            "histogram": self.histogram.cpu(),
            "sample": None if self.sample is None else self.sample.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> LevelStream:
        """The stream that `state` described."""
        groups, _, latent = state["sums"].shape
        stream = cls(latent, device, sampled=state["sample"] is not None, groups=groups)
        stream.means = GroupMoments.from_state(state["means"], device)
        for name in ("sums", "subjects", "histogram"):
            getattr(stream, name).copy_(state[name])
        if state["sample"] is not None:
            stream.sample = SetSample.from_state(state["sample"], device)
        return stream

    def dimensions(self) -> Dimensions | None:
        """Figures a dimension; reads the device. None before the first set."""
        sets = float(self.means.count.sum())
        if sets == 0:
            return None
        everyone = torch.ones(1, len(self.subjects), dtype=torch.float64)
        spread = self.means.weighted().covariance(everyone)[0].diagonal()
        kl, variance, plain = self.sums.sum(0).cpu() / sets
        below = self.histogram.cpu().cumsum(1)[:, EDGES.index(EPSILON)] / sets
        active = spread > ACTIVE_VARIANCE
        return Dimensions(
            kl=kl.tolist(),
            mean_variance=spread.tolist(),
            variance=variance.tolist(),
            plain_variance=plain.tolist(),
            active=active.tolist(),
            used=(kl > USED_KL).tolist(),
            collapsed=(below >= 1 - DELTA).tolist(),
            matched=(((variance - 1).abs() <= MATCHED_WITHIN) & ~active).tolist(),
            over_sharp=(variance < OVER_SHARP).tolist(),
            histogram=self.histogram.long().tolist(),
        )

    def result(self, number: int, floor: float) -> LevelMeasures | None:
        """Figures of the level; reads the device. None before the first set.

        Args:
            number: The level, from 1.
            floor: Nats a set that free bits leave free.
        """
        dimensions = self.dimensions()
        if dimensions is None:
            return None
        kl, variance, _ = self.sums.unbind(1)
        bound = aggregate(self.means, kl.sum(1), variance, self.subjects)
        return LevelMeasures(
            level=number,
            sets=round(float(self.means.count.sum())),
            subjects=round(float(self.subjects.sum())),
            kl=sum(dimensions.kl),
            floor=floor,
            dimensions=dimensions,
            information=None if bound is None else bound.information,
            gaussian_kl=None if bound is None else bound.gaussian_kl,
            bracket=None if self.sample is None else bracket(self.sample),
        )

    def _count(self, kl: Tensor) -> None:
        """Count each dimension's KL into its bin; a bin holds what lies below its upper edge."""
        width = len(EDGES) + 1
        place = torch.arange(kl.shape[1], device=kl.device) * width
        index = torch.bucketize(kl, self._edges, right=True) + place
        self.histogram.view(-1).index_add_(0, index.flatten(), torch.ones_like(kl).flatten())
