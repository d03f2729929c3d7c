"""What the processes that train one model say to one another; alone, each call gives its own."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, distributed


def count() -> int:
    """Processes that train together now."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def agree(*numbers: int) -> tuple[int, ...]:
    """The largest of each number over all ranks."""
    if count() == 1:
        return numbers
    largest = torch.tensor(numbers, dtype=torch.int64)
    distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
    return tuple(int(number) for number in largest)


def add_up(mine: Tensor) -> Tensor:
    """The sum over all ranks; on a GPU nobody waits for it."""
    if count() > 1:
        distributed.all_reduce(mine)
    return mine


def everyones(mine: dict[str, Any]) -> list[dict[str, Any]]:
    """Tensors and plain values of every rank, in the order of ranks."""
    if count() == 1:
        return [mine]
    packed = io.BytesIO()
    torch.save(mine, packed)
    data = torch.frombuffer(bytearray(packed.getvalue()), dtype=torch.uint8)
    sizes = gather(torch.tensor([len(data)])).tolist()
    parts = gather(data).split(sizes)
    return [torch.load(io.BytesIO(part.numpy().tobytes()), weights_only=True) for part in parts]


def gather(mine: Tensor) -> Tensor:
    """The rows of every rank, in the order of ranks; each may bring another number of rows.

    Args:
        mine: [rows, ...]; shapes behind the first axis and types are equal on all ranks.
    """
    if count() == 1:
        return mine
    mine = mine.detach().cpu()
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(count())]
    distributed.all_gather(sizes, torch.tensor([len(mine)]))
    longest = max(int(size) for size in sizes)
    padded = mine.new_zeros(longest, *mine.shape[1:])
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])
