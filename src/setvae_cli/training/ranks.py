"""The processes that train one model together."""

from __future__ import annotations

import torch
from torch import distributed


def agree(*numbers: int) -> tuple[int, ...]:
    """The largest of each number over all ranks; alone they stay as they are."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return numbers
    largest = torch.tensor(numbers, dtype=torch.int64)
    distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
    return tuple(int(number) for number in largest)
