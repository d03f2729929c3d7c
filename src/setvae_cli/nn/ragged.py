"""Packed rows to rectangles and back, and sums and softmaxes over segments.

Rows are gathered with `index_select`, whose backward adds in a fixed order on CPU: indexing with
a tensor would add gradients in the order threads arrive, and runs would not repeat bit for bit.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from setvae_cli.data.batch import Bucket, Rectangles


def to_rectangle(
    packed: Float[Tensor, "items dim"], bucket: Bucket
) -> Float[Tensor, "rows width dim"]:
    """Gather one bucket's cells; padded cells repeat real items and are to be masked."""
    rows, width = bucket.index.shape
    return packed.index_select(0, bucket.index.reshape(-1)).view(rows, width, packed.shape[-1])


def from_rectangles(
    parts: list[Float[Tensor, "_rows _width dim"]], rectangles: Rectangles
) -> Float[Tensor, "items dim"]:
    """Undo `to_rectangle` over all buckets."""
    flat = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
    return flat.index_select(0, rectangles.inverse)


def segment_sum(
    x: Float[Tensor, "items dim"], segment: Int64[Tensor, "items"], segments: int
) -> Float[Tensor, "segments dim"]:
    """Sum items by segment; a segment without items is 0."""
    return x.new_zeros(segments, x.shape[-1]).index_add(0, segment, x)


def segment_softmax_pool(
    scores: Float[Tensor, "items pools"],
    x: Float[Tensor, "items pools dim"],
    segment: Int64[Tensor, "items"],
    segments: int,
) -> Float[Tensor, "segments pools dim"]:
    """Average items by segment with softmax weights, one set of weights a pool.

    A segment without items is 0.
    """
    pools, dim = x.shape[1:]
    highest = scores.new_full((segments, pools), -torch.inf)
    index = segment[:, None].expand_as(scores)
    highest = highest.scatter_reduce(0, index, scores.detach(), "amax")
    weights = torch.exp(scores - highest.index_select(0, segment))[:, :, None]
    sums = segment_sum(torch.cat([weights * x, weights], -1).flatten(1), segment, segments)
    sums = sums.view(segments, pools, dim + 1)
    return sums[..., :dim] / sums[..., dim:].clamp_min(torch.finfo(x.dtype).tiny)
