"""A uniform random sample of sets from a stream: those with the smallest hashes (bottom-k).

A set's hash is a function of its row number and its place, so that order, batches, ranks and
interruptions all give the same sample, and two samples merge into the one of both streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from setvae_cli.data.batch import Plan
from setvae_cli.data.noise import counter_normal, counter_uniform
from setvae_cli.monitor.residual import Residual

SAMPLED = 512
KEY_DRAW, NOISE_DRAW = 13, 14
_NAMES = ("key", "row", "place", "mean", "logvar")


class SetSample:
    """At most 512 sets: who they are, and their residual posteriors.

    Args:
        latent: Latent numbers a set.
        device: Where they are kept.
    """

    def __init__(self, latent: int, device: torch.device) -> None:
        def whole(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=device)

        self.key: Float[Tensor, "sampled"] = whole(0).double()
        self.row: Int64[Tensor, "sampled"] = whole(0)
        self.place: Int64[Tensor, "sampled"] = whole(0)
        self.mean: Float[Tensor, "sampled latent"] = whole(0, latent).double()
        self.logvar: Float[Tensor, "sampled latent"] = whole(0, latent).double()

    def update(self, residual: Residual, plan: Plan, rows: Int64[Tensor, "subjects"]) -> None:
        """Add a batch."""
        subject = plan.set_subject
        place = torch.arange(plan.sets, device=subject.device)
        place = place - plan.subject_start.index_select(0, subject)
        row = rows.index_select(0, subject)
        self._keep(sample_key(row, place), row, place, residual.mean, residual.logvar)

    def merge(self, other: SetSample) -> None:
        """Add what another stream has sampled."""
        self._keep(*(getattr(other, name) for name in _NAMES))

    def noise(self, draw: int) -> Float[Tensor, "sampled latent"]:
        """Standard normal numbers of each sampled set, float64."""
        latent = self.mean.shape[1]
        normal = counter_normal(0, 0, draw, self.row, self.place, draw=NOISE_DRAW, dim=latent)
        return normal.double()

    def state(self) -> dict[str, Any]:
        """Tensors for a checkpoint."""
        return {name: getattr(self, name).cpu() for name in _NAMES}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> SetSample:
        """The sample that `state` described."""
        sample = cls(state["mean"].shape[1], device)
        for name in _NAMES:
            setattr(sample, name, state[name].to(device))
        return sample

    def _keep(self, *added: Tensor) -> None:
        joined = [
            torch.cat([getattr(self, name), part]) for name, part in zip(_NAMES, added, strict=True)
        ]
        order = torch.argsort(joined[0], stable=True)[:SAMPLED]
        for name, part in zip(_NAMES, joined, strict=True):
            setattr(self, name, part.index_select(0, order))


def sample_key(row: Int64[Tensor, "sets"], place: Int64[Tensor, "sets"]) -> Float[Tensor, "sets"]:
    """48 random bits of each set in [0, 1): two numbers of 24, as a float64 holds them exactly."""
    high, low = (counter_uniform(0, 0, half, row, place, draw=KEY_DRAW).double() for half in (0, 1))
    return high + low * 2.0**-24
