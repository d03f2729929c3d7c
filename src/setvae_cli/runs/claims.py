"""What an opened checkpoint may claim: no more than its file holds, and each thing once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from setvae_cli.errors import InputError


def check_claims(payload: Any, path: Path) -> None:
    """Refuse what would fill the memory once somebody copies or walks it.

    A tensor of 10^13 numbers takes four bytes of a file when all of them are one number, and so
    does a list of ten times one list of ten times one list, and so on. What setvae writes has a
    place of its own for every tensor and every container.

    Args:
        payload: Plain containers, tensors and values, as `torch.load` with weights only gives them.
        path: The file.

    Raises:
        InputError: The payload claims more than the file holds.
    """
    left = path.stat().st_size
    seen: set[int] = set()
    waiting = [payload]
    while waiting and left >= 0:
        item = waiting.pop()
        if isinstance(item, Tensor):
            left = left - item.numel() * item.element_size() if _is_plain(item) else -1
        elif isinstance(item, dict | list | tuple) and item:
            left = left if id(item) not in seen else -1
            seen.add(id(item))
            waiting.extend(item.values() if isinstance(item, dict) else item)
    if left < 0:
        raise InputError(
            "refused: it claims to hold more than its file does",
            where=str(path),
            mend="fetch it again from whoever made it",
        )


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.device.type == "cpu"
