"""From the states of each subject to one vector: its last, their mean, or a learned average."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from setvae_cli.nn.ragged import segment_softmax_pool, segment_sum

Over = Literal["last", "mean", "attention"]


class Pool(nn.Module):
    """States of all subjects, joined, to a vector a subject.

    Attention is one learned query. It begins at zero, where it is the mean.

    Args:
        over: last, mean or attention.
        dim: Width of a state.
    """

    def __init__(self, over: Over, dim: int) -> None:
        super().__init__()
        self.over = over
        self.query = nn.Parameter(torch.zeros(dim)) if over == "attention" else None

    def forward(
        self,
        states: Float[Tensor, "items dim"],
        segment: Int64[Tensor, "items"],
        last: Int64[Tensor, "subjects"],
        real: Bool[Tensor, "items"] | None = None,
    ) -> Float[Tensor, "subjects dim"]:
        """Pool.

        Args:
            states: In the order of subjects, and of time inside each.
            segment: The subject of each state.
            last: Place of each subject's last state.
            real: False where a state is padding; None: nowhere.
        """
        if self.over == "last":
            return states.index_select(0, last)
        if real is not None:  # what stands in padding may be NaN, which no weight of 0 removes
            states = states.masked_fill(~real[:, None], 0.0)
        if self.query is None:
            ones = torch.ones_like(states[:, :1]) if real is None else real[:, None].to(states)
            sums = segment_sum(torch.cat([states, ones], 1), segment, len(last))
            return sums[:, :-1] / sums[:, -1:]
        scores = (states @ self.query.to(states.dtype))[:, None] / len(self.query) ** 0.5
        if real is not None:
            scores = scores.masked_fill(~real[:, None], -torch.inf)
        return segment_softmax_pool(scores, states[:, None], segment, len(last))[:, 0]
