"""Packed rows to rectangles and back, and sums and softmaxes over segments.

Rows are gathered with `index_select`, whose backward adds in a fixed order on CPU: indexing with
a tensor would add gradients in the order threads arrive, and runs would not repeat bit for bit.
The ways to rectangles and back are each other's backward, so that no gradient is made of zeros
first and then added to, once a bucket: that took a third of a step of plain set attention.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from setvae_cli.data.batch import Rectangles
from setvae_cli.data.uncompiled import uncompiled


def to_rectangles(
    packed: Float[Tensor, "items dim"], rectangles: Rectangles
) -> list[Float[Tensor, "_rows _width dim"]]:
    """Gather the cells of every bucket.

    Padded cells repeat real items and are to be masked: their gradient is dropped.
    """
    flat: Tensor = _ToCells.apply(  # type: ignore[no-untyped-call]
        packed, rectangles.cells, rectangles.inverse
    )
    sizes = [bucket.cells for bucket in rectangles.buckets]
    return [
        part.view(-1, bucket.width, packed.shape[-1])
        for part, bucket in zip(flat.split(sizes), rectangles.buckets, strict=True)
    ]


def from_rectangles(
    parts: list[Float[Tensor, "_rows _width dim"]], rectangles: Rectangles
) -> Float[Tensor, "items dim"]:
    """Undo `to_rectangles`."""
    flat = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
    packed: Tensor = _FromCells.apply(flat, rectangles.inverse)  # type: ignore[no-untyped-call]
    return packed


class _ToCells(torch.autograd.Function):
    """Rows to cells; every row has one real cell, whose gradient is its own."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, cells: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return packed.index_select(0, cells)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradient.index_select(0, inverse), None, None


class _FromCells(torch.autograd.Function):
    """Real cells to rows; padded cells have no gradient."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        ctx.cells = len(flat)
        return flat.index_select(0, inverse)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (inverse,) = ctx.saved_tensors
        empty = len(inverse) == ctx.cells
        shape = (ctx.cells, *gradient.shape[1:])
        flat = gradient.new_empty(shape) if empty else gradient.new_zeros(shape)
        return flat.index_copy_(0, inverse, gradient), None


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
    pooled: Tensor = _SoftmaxPool.apply(scores, x, segment, segments)  # type: ignore[no-untyped-call]
    return pooled


class _SoftmaxPool(torch.autograd.Function):
    """out[s] = sum of weight x over items of s;  d score = weight (d out . (x - out))."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, x: Tensor, segment: Tensor, segments: int) -> Tensor:
        pools, dim = x.shape[1:]
        index = segment[:, None].expand_as(scores)
        highest = scores.new_full((segments, pools), -torch.inf)
        highest.scatter_reduce_(0, index, scores, "amax")
        weights = (scores - highest.index_select(0, segment)).exp_()
        sums = scores.new_zeros(segments, pools).index_add_(0, segment, weights)
        weights /= sums.index_select(0, segment)
        weighted = (weights[:, :, None] * x).flatten(1)
        pooled = x.new_zeros(segments, pools * dim).index_add_(0, segment, weighted)
        pooled = pooled.view(segments, pools, dim)
        ctx.save_for_backward(weights, x, segment, pooled)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        weights, x, segment, pooled = ctx.saved_tensors
        each = gradient.index_select(0, segment)
        mean = (gradient * pooled).sum(-1).index_select(0, segment)
        for_scores = (each * x).sum(-1).sub_(mean).mul_(weights)
        return for_scores, each.mul_(weights[:, :, None]), None, None


@uncompiled  # a graph would be made for each number of buckets
def softmax_pool(
    scores: Float[Tensor, "items pools"], x: Float[Tensor, "items dim"], groups: Rectangles
) -> Float[Tensor, "groups pools dim"]:
    """Average the items of each group with softmax weights, several times."""
    parts = []
    cells = zip(to_rectangles(scores, groups), to_rectangles(x, groups), strict=True)
    for bucket, (score, values) in zip(groups.buckets, cells, strict=True):
        if bucket.mask is not None:
            score = score.masked_fill(~bucket.mask[:, :, None], -torch.inf)
        parts.append(score.softmax(1).transpose(1, 2) @ values)
    return torch.cat(parts).index_select(0, groups.group_inverse)
