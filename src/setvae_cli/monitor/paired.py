"""What changing an input costs, set against the same sets with the right input, by subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from setvae_cli.data.batch import Plan
from setvae_cli.monitor.groups import GROUPS, Interval, bootstrap

NEGLIGIBLE_SHARE = 0.01
NEGLIGIBLE_NATS = 0.05


@dataclass(frozen=True)
class Gap:
    """Mean cost of a change.

    Attributes:
        cost: Changed minus right, nats a set (distances with the chamfer decoder).
        right: The right one's own mean, in the same unit.
    """

    cost: Interval
    right: float

    @property
    def about_zero(self) -> bool:
        """Whether it is under 1 % of the right one's cost, and its interval covers 0.

        A cost that lies under 0.05 nat with its whole interval counts as covering 0:
        enough subjects make any cost significant.
        """
        small = abs(self.cost.value) <= NEGLIGIBLE_SHARE * abs(self.right)
        lowest, highest = self.cost.low, self.cost.high
        none = lowest <= 0 <= highest or max(abs(lowest), abs(highest)) < NEGLIGIBLE_NATS
        return small and none


class PairedStream:
    """Sums of right and changed costs by groups of subjects.

    Args:
        device: Where they are kept.
    """

    def __init__(self, device: torch.device) -> None:
        # sets, right, changed - right, subjects
        self.sums = torch.zeros(GROUPS, 4, dtype=torch.float64, device=device)

    def update(
        self,
        right: Float[Tensor, "sets"],
        changed: Float[Tensor, "sets"],
        plan: Plan,
        group: Int64[Tensor, "subjects"],
    ) -> None:
        """Add a batch: the cost of each set with the right input, and with the changed one."""
        right, changed = right.double(), changed.double()
        columns = torch.stack(
            [torch.ones_like(right), right, changed - right, torch.zeros_like(right)], 1
        )
        self.sums.index_add_(0, group.index_select(0, plan.set_subject), columns)
        self.sums[:, 3].index_add_(0, group, torch.ones_like(group, dtype=torch.float64))

    def merge(self, other: PairedStream) -> None:
        """Add what another stream has seen."""
        self.sums += other.sums

    def decay(self, factor: float) -> None:
        """Let what was seen so far count less."""
        self.sums *= factor

    def state(self) -> dict[str, Any]:
        """Tensors for a checkpoint."""
        return {"sums": self.sums.cpu()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> PairedStream:
        """The stream that `state` described."""
        stream = cls(device)
        stream.sums.copy_(state["sums"])
        return stream

    def result(self) -> Gap | None:
        """The mean cost; reads the device. None while subjects fill fewer than two groups."""
        sums = self.sums.cpu()

        def mean_cost(weights: Tensor) -> Tensor:
            found = weights @ sums
            return found[:, 2:3] / found[:, :1]

        cost = bootstrap(mean_cost, sums[:, 3])
        if not cost:
            return None
        total = sums.sum(0)
        return Gap(cost[0], float(total[1] / total[0]))
