"""Attention inside groups of packed rows by the framework's variable-length kernels, on a GPU.

Rectangles cost a few launches a bucket, which a GPU waits for; a kernel that reads offsets needs
none of them. Sizes come from the plan, so that nothing asks the device.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

MOST_GROUPS = 65_535  # a launch has no more blocks in its second dimension
_ALIGNED = {torch.float32: 4, torch.bfloat16: 8, torch.float16: 8}

warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors is in prototype")


@dataclass(frozen=True)
class Lengths:
    """Where groups begin and end in packed rows.

    Attributes:
        offsets: Begin of each group, and the end of the last.
        longest: Rows of the longest group.
    """

    offsets: Int64[Tensor, "groups_and_one"]
    longest: int


def has_kernel(x: Float[Tensor, "items dim"], heads: int, groups: int) -> bool:
    """Whether these rows are on a GPU, of a type and width that its kernels take."""
    aligned = _ALIGNED.get(x.dtype)
    fits = aligned is not None and x.shape[-1] // heads % aligned == 0
    if not (x.is_cuda and fits and groups <= MOST_GROUPS):
        return False
    return x.dtype != torch.bfloat16 or torch.cuda.get_device_capability(x.device) >= (8, 0)


def jagged_attention(
    query: Float[Tensor, "queries dim"],
    key: Float[Tensor, "keys dim"],
    value: Float[Tensor, "keys dim"],
    heads: int,
    *,
    queries: Lengths,
    keys: Lengths,
    causal: bool = False,
) -> Float[Tensor, "queries dim"]:
    """Each query attends the keys of its group, or of these only those up to itself.

    Args:
        query, key, value: Packed rows.
        heads: Number of heads.
        queries, keys: Groups of the rows; as many of one as of the other.
        causal: Only with the same rows as queries and keys.
    """

    def nested(x: Tensor, lengths: Lengths) -> Tensor:
        return torch.nested.nested_tensor_from_jagged(
            x.unflatten(-1, (heads, -1)),
            lengths.offsets,
            min_seqlen=1,
            max_seqlen=lengths.longest,
        ).transpose(1, 2)

    out = functional.scaled_dot_product_attention(
        nested(query, queries), nested(key, keys), nested(value, keys), is_causal=causal
    )
    return out.transpose(1, 2).values().flatten(1)
