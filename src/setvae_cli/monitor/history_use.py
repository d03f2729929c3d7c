"""How much of h_t a linear map of z_t already says: at 1 the history adds nothing to the latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from setvae_cli.data.batch import Plan
from setvae_cli.monitor.moments import GroupMoments

NUMERICAL_RANK = 1e-10


class LinearFit:
    """Least squares of states on latents, from their joint moments.

    Args:
        latent: Latent numbers a set, all levels together.
        dim: Numbers a state.
        device: Where moments are kept.
    """

    def __init__(self, latent: int, dim: int, device: torch.device) -> None:
        self.latent = latent
        self.joint = GroupMoments(1, latent + dim, device)

    def update(
        self, z: Float[Tensor, "sets latent"], h: Float[Tensor, "sets dim"], plan: Plan
    ) -> None:
        """Add a batch."""
        joined = torch.cat([z.detach().double(), h.detach().double()], 1)
        everyone = torch.zeros(plan.subjects, dtype=torch.int64, device=joined.device)
        self.joint.update(joined, plan, everyone)

    def merge(self, other: LinearFit) -> None:
        """Add what another stream has seen."""
        self.joint.merge(other.joint)

    def decay(self, factor: float) -> None:
        """Let what was seen so far count less."""
        self.joint.decay(factor)

    def state(self) -> dict[str, Any]:
        """Tensors for a checkpoint."""
        return {"latent": self.latent, "joint": self.joint.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> LinearFit:
        """The fit that `state` described."""
        latent = state["latent"]
        fit = cls(latent, state["joint"]["mean"].shape[1] - latent, device)
        fit.joint = GroupMoments.from_state(state["joint"], device)
        return fit

    def explained(self) -> float | None:
        """Share of the variance of h (R^2), less what chance explains; reads the device.

        Returns:
            None with too few sets to tell, or where states do not vary.
        """
        sets = float(self.joint.count.sum())
        if sets < 2 * self.latent + 2:
            return None
        m2 = self.joint.m2[0].cpu()
        inner, cross = m2[: self.latent, : self.latent], m2[: self.latent, self.latent :]
        total = float(m2.diagonal()[self.latent :].sum())
        if total <= 0:
            return None
        inverse = torch.linalg.pinv(inner, rtol=NUMERICAL_RANK, hermitian=True)
        used = float(torch.linalg.matrix_rank(inner, rtol=NUMERICAL_RANK, hermitian=True))
        share = float((cross * (inverse @ cross)).sum()) / total
        return 1 - (1 - share) * (sets - 1) / (sets - 1 - used)
