"""Dropout drops at its rate, each number for itself, from torch's own generator."""

from __future__ import annotations

import pytest
import torch

from setvae_cli.nn.dropout import LEVELS, Dropout, keep_factors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.97])
def test_numbers_are_dropped_at_the_rate_and_keep_their_mean(
    rate: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    dropped = Dropout(rate)(torch.ones(1001, 301, dtype=dtype)).double()
    deviation = (rate * (1 - rate) / dropped.numel()) ** 0.5
    assert abs(float((dropped == 0).double().mean()) - rate) < 4 * deviation
    rounding = torch.finfo(dtype).eps
    assert abs(float(dropped.mean()) - 1) < 4 * deviation / (1 - rate) + rounding


@pytest.mark.parametrize("rate", [1e-9, 1 - 1e-9, 1.0])
def test_a_rate_next_to_none_or_all_is_kept_too(rate: float) -> None:
    assert round(rate * LEVELS) in (0, LEVELS)
    dropped = Dropout(rate)(torch.ones(101))
    assert torch.equal(dropped, torch.full((101,), float(rate < 0.5)))


def test_the_four_numbers_of_one_draw_are_independent() -> None:
    torch.manual_seed(0)
    gone = (keep_factors((400_000,), round(0.3 * LEVELS), torch.float32) == 0).view(-1, 4)
    correlation = torch.corrcoef(gone.double().T) - torch.eye(4)
    assert float(correlation.abs().max()) < 5 / len(gone) ** 0.5


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (3, 5)])
def test_the_same_state_of_the_generator_drops_the_same_numbers(shape: tuple[int, ...]) -> None:
    dropout, x = Dropout(0.5), torch.ones(shape)
    state = torch.get_rng_state()
    first = dropout(x)
    torch.set_rng_state(state)
    assert torch.equal(dropout(x), first)
