"""Dropout whose mask does not cost more than the product it follows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """Dropout of elements (Srivastava et al. 2014), drawn from torch's default generator.

    On a CPU torch draws one number after the other, a fifth of a narrow layer's time; here each
    draw of 64 bits decides on four elements, so that rates are multiples of 1 / 65 536. Rates that
    would become 0 or 1 are torch's own, as is what a compiler fuses.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share of the numbers in training, and scale the others up."""
        cheap = x.device.type == "cpu" and not torch.compiler.is_compiling()
        hidden = round(self.p * LEVELS)
        if not self.training or not cheap or hidden in (0, LEVELS):
            dropped: Tensor = super().forward(x)
            return dropped
        return x * keep_factors(x.shape, hidden, x.dtype)


def keep_factors(shape: Sequence[int], hidden: int, dtype: torch.dtype) -> Tensor:
    """0 with probability hidden / 65 536, otherwise the factor that keeps the mean."""
    factors = torch.empty(tuple(shape), dtype=dtype)
    bits = torch.empty((factors.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    draws = bits.view(torch.int16)[: factors.numel()].view(factors.shape)
    torch.ge(draws.float(), hidden - LEVELS // 2, out=factors)
    return factors.mul_(LEVELS / (LEVELS - hidden))
