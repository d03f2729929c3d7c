"""Multi-head attention inside groups of packed rows, and the blocks of the Set Transformer.

Linear layers and norms run on packed rows; only the attention core sees rectangles, or on a GPU
offsets (Lee et al. 2019, "Set Transformer", equations 6 to 12).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from setvae_cli.data.batch import Bucket, Rectangles
from setvae_cli.data.uncompiled import uncompiled
from setvae_cli.nn.jagged import Lengths, has_kernel, jagged_attention
from setvae_cli.nn.ragged import from_rectangles, to_rectangles


class Attention(nn.Module):
    """Multi-head attention with its four projections.

    Args:
        dim: Width of rows.
        heads: Number of heads; divides dim.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads {heads} does not divide dim {dim}")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    @uncompiled  # a graph would be made for each number of buckets
    def within(
        self,
        x: Float[Tensor, "items dim"],
        groups: Rectangles,
        *,
        causal: bool = False,
        relaxation: float = 0.0,
    ) -> Float[Tensor, "items dim"]:
        """Every item attends the items of its group, or only those up to itself.

        Args:
            x: Packed rows.
            groups: Their rectangles.
            causal: Whether later items are hidden.
            relaxation: Share of later items that a causal mask lets through, drawn anew.
        """
        query, key_value = self.query(x), self.key_value(x)
        if relaxation == 0 and has_kernel(query, self.heads, len(groups.group_inverse)):
            lengths = Lengths(groups.offsets, groups.longest)
            return self._jagged(query, key_value, lengths, lengths, causal)
        queries, keys_values = to_rectangles(query, groups), to_rectangles(key_value, groups)
        parts = []
        for bucket, one, many in zip(groups.buckets, queries, keys_values, strict=True):
            key, value = many.chunk(2, -1)
            if bucket.width == 1:
                parts.append(value)
                continue
            mask, is_causal = _mask(bucket, causal, relaxation)
            parts.append(self._core(one, key, value, mask, is_causal))
        result: Tensor = self.out(from_rectangles(parts, groups))
        return result

    @uncompiled  # a graph would be made for each number of buckets
    def from_queries(
        self, queries: Float[Tensor, "m dim"], x: Float[Tensor, "items dim"], groups: Rectangles
    ) -> Float[Tensor, "groups m dim"]:
        """The same learned queries attend the items of each group; they are projected once."""
        query, key_value = self.query(queries), self.key_value(x)
        count = len(groups.group_inverse)
        if has_kernel(query, self.heads, count):
            repeated = query.repeat(count, 1)
            lengths = Lengths(groups.offsets, groups.longest)
            attended = self._jagged(
                repeated, key_value, _equal(count, len(query), query.device), lengths, False
            )
            return attended.view(count, len(query), -1)
        parts = []
        for bucket, many in zip(groups.buckets, to_rectangles(key_value, groups), strict=True):
            key, value = many.chunk(2, -1)
            shared = query.expand(len(key), -1, -1)
            if bucket.width == 1:
                parts.append(value.expand_as(shared))
                continue
            mask, _ = _mask(bucket, False, 0.0)
            parts.append(self._core(shared, key, value, mask, False))
        result: Tensor = self.out(torch.cat(parts).index_select(0, groups.group_inverse))
        return result

    @uncompiled  # a graph would be made for each number of buckets
    def to_memory(
        self,
        x: Float[Tensor, "items dim"],
        memory: Float[Tensor, "groups m dim"],
        groups: Rectangles,
    ) -> Float[Tensor, "items dim"]:
        """Every item attends the memory rows of its group."""
        query, key_value = self.query(x), self.key_value(memory)
        count, rows = memory.shape[:2]
        if has_kernel(query, self.heads, count):
            lengths = Lengths(groups.offsets, groups.longest)
            return self._jagged(
                query, key_value.flatten(0, 1), lengths, _equal(count, rows, query.device), False
            )
        order = torch.cat([bucket.groups for bucket in groups.buckets])
        sizes = [len(bucket.groups) for bucket in groups.buckets]
        memories = key_value.index_select(0, order).split(sizes)
        parts = []
        for one, many in zip(to_rectangles(query, groups), memories, strict=True):
            key, value = many.chunk(2, -1)
            parts.append(self._core(one, key, value, None, False))
        result: Tensor = self.out(from_rectangles(parts, groups))
        return result

    def _jagged(
        self,
        query: Float[Tensor, "queries dim"],
        key_value: Float[Tensor, "keys twice_dim"],
        queries: Lengths,
        keys: Lengths,
        causal: bool,
    ) -> Float[Tensor, "queries dim"]:
        key, value = key_value.chunk(2, -1)
        attended = jagged_attention(
            query, key, value, self.heads, queries=queries, keys=keys, causal=causal
        )
        result: Tensor = self.out(attended)
        return result

    def _core(
        self,
        query: Float[Tensor, "rows queries dim"],
        key: Float[Tensor, "rows keys dim"],
        value: Float[Tensor, "rows keys dim"],
        mask: Bool[Tensor, "rows 1 one_or_queries keys"] | None,
        is_causal: bool,
    ) -> Float[Tensor, "rows queries dim"]:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, key, value))
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
        return out.transpose(1, 2).flatten(2)


def _equal(groups: int, rows: int, device: torch.device) -> Lengths:
    """Groups of the same number of rows each."""
    return Lengths(torch.arange(groups + 1, device=device) * rows, rows)


def _mask(bucket: Bucket, causal: bool, relaxation: float) -> tuple[Tensor | None, bool]:
    """The mask of one bucket, and whether the kernel's own causal mask does instead.

    Padding stands at the end of a row, where a strictly causal mask already hides it from every
    real item.
    """
    if causal and relaxation == 0:
        return None, True
    keys = None if bucket.mask is None else bucket.mask[:, None, None, :]
    if not causal:
        return keys, False
    width, device = bucket.width, bucket.groups.device
    past = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    seen = past | (torch.rand(width, width, device=device) < relaxation)
    return (seen[None, None] if keys is None else seen & keys), False


class FeedForward(nn.Sequential):
    """Row-wise feed-forward: linear, GELU, linear."""

    def __init__(self, dim: int, ff_dim: int) -> None:
        super().__init__(nn.Linear(dim, ff_dim), nn.GELU(), nn.Linear(ff_dim, dim))


class AttentionBlock(nn.Module):
    """MAB of the Set Transformer: LayerNorm(H + rFF(H)), H = LayerNorm(X + Multihead(X, Y, Y))."""

    def __init__(self, dim: int, heads: int, ff_dim: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.norm_attention = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ff_dim)
        self.norm_out = nn.LayerNorm(dim)

    def join(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended, then the feed-forward, each with its norm."""
        hidden = self.norm_attention(x + attended)
        result: Tensor = self.norm_out(hidden + self.feed_forward(hidden))
        return result


class FullSetAttention(nn.Module):
    """SAB: the elements of a set attend one another."""

    def __init__(self, dim: int, heads: int, ff_dim: int) -> None:
        super().__init__()
        self.block = AttentionBlock(dim, heads, ff_dim)

    def forward(
        self, x: Float[Tensor, "elements dim"], by_set: Rectangles
    ) -> Float[Tensor, "elements dim"]:
        """Elements in, elements out; the order inside a set does not matter."""
        return self.block.join(x, self.block.attention.within(x, by_set))


class InducedSetAttention(nn.Module):
    """ISAB: elements attend inducing points that have attended the elements.

    Args:
        points: Number of inducing points, learned and shared by all sets.
    """

    def __init__(self, dim: int, heads: int, ff_dim: int, points: int) -> None:
        super().__init__()
        self.inducing = nn.Parameter(torch.randn(points, dim) / dim**0.5)
        self.summarise = AttentionBlock(dim, heads, ff_dim)
        self.spread = AttentionBlock(dim, heads, ff_dim)

    def forward(
        self, x: Float[Tensor, "elements dim"], by_set: Rectangles
    ) -> Float[Tensor, "elements dim"]:
        """Elements in, elements out; cost grows with elements times points."""
        attended = self.summarise.attention.from_queries(self.inducing, x, by_set)
        memory = self.summarise.join(self.inducing, attended)
        return self.spread.join(x, self.spread.attention.to_memory(x, memory, by_set))


class SetPooling(nn.Module):
    """PMA with one seed: a set becomes one vector."""

    def __init__(self, dim: int, heads: int, ff_dim: int) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.randn(1, dim) / dim**0.5)
        self.block = AttentionBlock(dim, heads, ff_dim)

    def forward(
        self, x: Float[Tensor, "elements dim"], by_set: Rectangles
    ) -> Float[Tensor, "sets dim"]:
        """One vector a set."""
        attended = self.block.attention.from_queries(self.seed, x, by_set)
        return self.block.join(self.seed, attended).squeeze(1)
