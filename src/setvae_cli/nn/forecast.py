"""Heads of label-free training: what a subject's embedding says of the time to come, and what the
context of a hidden value says of it.

They are of no use once training is done. Their weights are called `forecast.` in a model's.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from setvae_cli.nn.decoders import CodeHeads

STATISTICS = 3  # mean, smallest, largest


class ForecastHeads(nn.Module):
    """Numbers a code from the embedding, and a value from a set's context.

    Args:
        size: Width of the subject's embedding.
        dim: Width of set vectors and of the history.
        hidden: Width of the state that hidden values are read from.
        codes: Number of codes.
    """

    def __init__(self, size: int, dim: int, hidden: int, codes: int) -> None:
        super().__init__()
        self.future = CodeHeads(size, codes, 1 + STATISTICS)
        self.context = nn.Sequential(nn.Linear(2 * dim, hidden), nn.GELU())
        self.values = CodeHeads(hidden, codes, 1)

    @property
    def codes(self) -> int:
        """Number of codes."""
        return self.future.codes

    def hidden_values(
        self,
        history: Float[Tensor, "sets dim"],
        summary: Float[Tensor, "sets dim"],
        sets: Int64[Tensor, "hidden"],
        codes: Int64[Tensor, "hidden"],
    ) -> Float[Tensor, "hidden"]:
        """Gaussianised value of codes that were hidden in sets, from what is left there."""
        context = torch.cat([history, summary], -1).index_select(0, sets)
        each = torch.arange(len(sets), device=sets.device)
        return self.values.at(self.context(context), each, codes)[:, 0]
