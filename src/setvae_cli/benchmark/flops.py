"""FLOPs of a training step from sizes alone: the work of a model, without any padding.

A product of `rows` rows with a matrix of weights costs 2 x rows x weights forward. Backward costs
the same for the gradient of the weights, and once more for that of the rows where they have one.
An attention core costs two products of pairs x dim forward and twice that backward; under a causal
mask n items make n (n + 1) / 2 pairs. A key that is alone has weight 1: neither it nor its query is
projected. Counted are products only (no norms, activations, gathers, losses or optimizer), each
once and only where its result is read, whatever an implementation does beyond that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from setvae_cli.data.batch import Rectangles, SetBatch
from setvae_cli.losses.reconstruction import NEGATIVES
from setvae_cli.nn.attention import AttentionBlock, FullSetAttention, InducedSetAttention
from setvae_cli.nn.decoders import DENSE_CODES, ChamferDecoder, QueryDecoder
from setvae_cli.nn.heads import VariableAxis
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.nn.set_vae import AttentionEncoder

FORMULA = (
    "FLOPs of a step: 2 x rows x weights of each product and 4 x pairs x dim of each attention "
    "core forward (causal: n(n+1)/2 pairs), twice that backward; no padding"
)


@dataclass(frozen=True)
class Work:
    """FLOPs of one training step.

    Attributes:
        once: Products with learned or given tables, whatever the batch.
        products: Products of the batch's rows with weights.
        pairs: Products of the batch's rows with one another: attention cores, pools, distances.
    """

    once: int = 0
    products: int = 0
    pairs: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.once + self.products + self.pairs

    def __add__(self, other: Work) -> Work:
        return Work(
            self.once + other.once, self.products + other.products, self.pairs + other.pairs
        )


@dataclass(frozen=True)
class Groups:
    """Items in groups that attend inside.

    Attributes:
        sizes: Items of each group, at least 1.
    """

    sizes: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Groups."""
        return len(self.sizes)

    @property
    def items(self) -> int:
        """Items of all groups."""
        return int(self.sizes.sum())

    @property
    def attending(self) -> int:
        """Items that are not alone in their group."""
        return int(self.sizes[self.sizes > 1].sum())

    def pairs(self, *, causal: bool) -> int:
        """Query and key together, in groups of two and more."""
        n = self.sizes[self.sizes > 1].astype(np.int64)
        return int((n * (n + 1) // 2 if causal else n * n).sum())


@dataclass(frozen=True)
class Sizes:
    """All that the work depends on: elements by set, sets by subject."""

    by_set: Groups
    by_subject: Groups

    @classmethod
    def of(cls, batch: SetBatch) -> Sizes:
        """The sizes of a batch."""
        sizes = (batch.set_sizes, batch.sets_per_subject)
        return cls(*(Groups(size.cpu().numpy()) for size in sizes))

    @classmethod
    def padded(cls, batch: SetBatch) -> Sizes:
        """The sizes that attention computes: every group as wide as its bucket."""
        real, plan = cls.of(batch), batch.plan
        by_set = real.by_set if plan.by_set is None else _widths(plan.by_set)
        return cls(by_set, _widths(plan.by_subject))


def _widths(rectangles: Rectangles) -> Groups:
    widths = [bucket.width for bucket in rectangles.buckets]
    return Groups(np.repeat(widths, [len(bucket.groups) for bucket in rectangles.buckets]))


def step_flops(model: SeqSetVAE, sizes: Sizes, *, predicting: bool = True) -> Work:
    """FLOPs of forward and backward of a model in training.

    Args:
        model: Its modules are read, not run.
        sizes: Of the batch.
        predicting: Whether there are labels; without them the head has no part in the loss.
    """
    parts = [_embedding(model), _encoder(model, sizes), _latents(model, sizes)]
    parts += [_history(model, sizes), _decoder(model, sizes)]
    if predicting:
        parts.append(_head(model, sizes))
    return sum(parts, Work())


def padded_share(model: SeqSetVAE, batch: SetBatch) -> float:
    """Share of the work between rows that is spent on padded cells."""
    real = step_flops(model, Sizes.of(batch)).pairs
    computed = step_flops(model, Sizes.padded(batch)).pairs
    return 1 - real / computed if computed else 0.0


def _product(rows: int, inputs: int, outputs: int, *, gradients: int = 2) -> int:
    """Forward, and one product of the same size for each gradient: of weights, of rows."""
    return 2 * rows * inputs * outputs * (1 + gradients)


def _linears(module: nn.Module, rows: int, *, gradients: int = 2) -> int:
    """Every linear layer of a module on the same rows."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return sum(
        _product(rows, layer.in_features, layer.out_features, gradients=gradients)
        for layer in layers
    )


def _core(pairs: int, dim: int) -> int:
    """Scores and weighted values of an attention."""
    return 2 * _product(pairs, dim, 1)


def _within(dim: int, groups: Groups, *, causal: bool) -> Work:
    """Items attend the items of their group."""
    query_key = _product(groups.attending, dim, 2 * dim)
    value_out = _product(groups.items, dim, 2 * dim)
    return Work(products=query_key + value_out, pairs=_core(groups.pairs(causal=causal), dim))


def _from_queries(dim: int, queries: int, groups: Groups) -> Work:
    """The same learned queries attend each group."""
    key = _product(groups.attending, dim, dim)
    value = _product(groups.items, dim, dim)
    out = _product(groups.count * queries, dim, dim)
    return Work(
        once=_product(queries, dim, dim),
        products=key + value + out,
        pairs=_core(queries * groups.attending, dim),
    )


def _to_memory(dim: int, points: int, groups: Groups) -> Work:
    """Items attend the memory of their group."""
    query_out = _product(groups.items, dim, 2 * dim)
    key_value = _product(groups.count * points, dim, 2 * dim)
    return Work(products=query_out + key_value, pairs=_core(groups.items * points, dim))


def _feed_forward(block: AttentionBlock, rows: int) -> Work:
    return Work(products=_linears(block.feed_forward, rows))


def _set_attention(block: nn.Module, dim: int, by_set: Groups) -> Work:
    if isinstance(block, FullSetAttention):
        return _within(dim, by_set, causal=False) + _feed_forward(block.block, by_set.items)
    assert isinstance(block, InducedSetAttention)
    points = len(block.inducing)
    summarise = _from_queries(dim, points, by_set)
    spread = _to_memory(dim, points, by_set)
    summarise += _feed_forward(block.summarise, by_set.count * points)
    return summarise + spread + _feed_forward(block.spread, by_set.items)


def _embedding(model: SeqSetVAE) -> Work:
    """The projection of given code embeddings, which have no gradient themselves."""
    codes = model.embed.codes
    given = 0 if codes.given is None else len(codes.given)
    return Work(once=_linears(codes, given, gradients=1))


def _encoder(model: SeqSetVAE, sizes: Sizes) -> Work:
    if not isinstance(model.encoder, AttentionEncoder):
        return Work(products=_linears(model.encoder, sizes.by_set.count))
    dim, work = _dim(model), Work()
    for block, pool in zip(model.encoder.blocks, model.encoder.pools, strict=True):
        work += _set_attention(block, dim, sizes.by_set)
        work += _from_queries(dim, 1, sizes.by_set)
        work += _feed_forward(pool.block, sizes.by_set.count)  # type: ignore[arg-type]
    return work


def _latents(model: SeqSetVAE, sizes: Sizes) -> Work:
    """Posteriors, learned priors, and one map of each level's latents back to the context."""
    return Work(products=_linears(model.latents, sizes.by_set.count))


def _history(model: SeqSetVAE, sizes: Sizes) -> Work:
    """The features of time have no gradient."""
    dim, history, sets = _dim(model), model.history, sizes.by_set.count
    work = Work(products=_linears(model.time, sets, gradients=1))
    for layer in history.layers:
        work += _within(dim, sizes.by_subject, causal=history.causal and not history.relaxation)
        work += Work(products=_linears(layer.feed_forward, sets))  # type: ignore[arg-type]
    return work


def _decoder(model: SeqSetVAE, sizes: Sizes) -> Work:
    decoder = model.decoder
    if isinstance(decoder, ChamferDecoder):
        return _chamfer(decoder, _dim(model), sizes.by_set)
    return _query(decoder, sizes.by_set)


def _query(decoder: QueryDecoder, by_set: Groups) -> Work:
    """Presence of all codes, or of sampled ones and the elements' own; values of elements only."""
    heads, sets = decoder.heads, by_set.count
    hidden = heads.weight.shape[1]
    work = _linears(decoder, sets)
    if decoder.codes <= DENSE_CODES:
        read = min(by_set.items, sets * decoder.codes)  # a code that repeats is made once
        work += _product(sets, hidden, decoder.codes)
        return Work(products=work + _product(read, hidden, heads.numbers - 1))
    own = _product(by_set.items, hidden, heads.numbers)
    return Work(products=work + own + _product(sets, hidden, NEGATIVES))


def _chamfer(decoder: ChamferDecoder, dim: int, by_set: Groups) -> Work:
    """Elements are made and compared, as vectors and as directions; targets have no gradient."""
    work = Work(products=_linears(decoder.start, by_set.count))
    for block in decoder.blocks:
        work += _set_attention(block, dim, by_set)
    cells = int((by_set.sizes**2).sum())
    return work + Work(
        products=_linears(decoder.out, by_set.items),
        pairs=2 * _product(cells, dim, 1, gradients=1),
    )


def _head(model: SeqSetVAE, sizes: Sizes) -> Work:
    """Pools over time weigh states by scores that a linear layer gives: half a core."""
    products, pairs = _linears(model.head, sizes.by_subject.count), 0
    if model.pooling is not None:
        products += _linears(model.pooling, sizes.by_set.count)
        pairs = _product(sizes.by_subject.items, model.pooling.size, 1)
    if model.variables is not None:
        products += _variable_axis(model.variables, sizes.by_subject.count)
    return Work(products=products, pairs=pairs)


def _variable_axis(axis: VariableAxis, subjects: int) -> int:
    """Every subject has every code, so nothing of it can be padding."""
    codes, inputs, width = axis.join.weight.shape
    rows = subjects * codes
    attention = _linears(axis.attention, rows) + _core(rows * codes, width)
    return _product(rows, inputs, width) + attention + _linears(axis.feed_forward, rows)


def _dim(model: SeqSetVAE) -> int:
    """Width of set vectors and of the history."""
    return int(model.time.features.out_features)
