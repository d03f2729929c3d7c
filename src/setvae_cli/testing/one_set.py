"""Each part of the model for one set or one subject, written out: loops and explicit softmaxes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from setvae_cli.losses.reconstruction import SMALLEST_SIGMA
from setvae_cli.nn.attention import (
    Attention,
    AttentionBlock,
    FullSetAttention,
    InducedSetAttention,
    SetPooling,
)
from setvae_cli.nn.decoders import SLOTS, ChamferDecoder, QueryDecoder
from setvae_cli.nn.embedding import ProductEmbedding
from setvae_cli.nn.heads import AGES, NUMBERS_A_POOL, VariableAxis
from setvae_cli.nn.history import POSITIONS, HistoryLayer
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.nn.set_vae import AttentionEncoder

Parameters = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class OneSet:
    """One set, taken out of a batch: keys, values, value mask, position."""

    keys: Tensor
    values: Tensor
    mask: Tensor
    position: Tensor


def _rows(model: SeqSetVAE, one: OneSet) -> tuple[Tensor, Tensor, Tensor]:
    """Lower row, upper row and share of the upper, one element at a time."""
    low: list[int] = []
    high: list[int] = []
    share: list[Tensor] = []
    for key, value in zip(one.keys.tolist(), one.values, strict=True):
        knots = [k for k in model.knots.values[key].tolist() if math.isfinite(k)]
        first = int(model.knots.first[key])
        if len(knots) == 1:
            low, high, share = [*low, first], [*high, first], [*share, value.new_zeros(())]
            continue
        place = max((i for i, k in enumerate(knots[:-1]) if k <= float(value)), default=0)
        between = (value - knots[place]) / (knots[place + 1] - knots[place])
        low, high = [*low, first + place], [*high, first + place + 1]
        share.append(between.clamp(0, 1))
    index = one.keys.new_tensor
    return index(low), index(high), torch.stack(share)


def _interpolate(model: SeqSetVAE, table: Tensor, one: OneSet) -> Tensor:
    low, high, share = _rows(model, one)
    return (1 - share)[:, None] * table[low] + share[:, None] * table[high]


def element_vectors(model: SeqSetVAE, one: OneSet) -> Tensor:
    if isinstance(model.embed, ProductEmbedding):
        table: Tensor = model.embed.codes()
        direction: Tensor = table[one.keys] / table[one.keys].norm(dim=-1, keepdim=True)
        return direction * torch.where(one.mask, one.values, 1.0)[:, None]
    return _interpolate(model, model.embed(), one)


def summaries_of(model: SeqSetVAE, x: Tensor) -> list[Tensor]:
    encoder, summaries = model.encoder, []
    if isinstance(encoder, AttentionEncoder):
        for block, pool in zip(encoder.blocks, encoder.pools, strict=True):
            x = _set_attention(block, x)
            assert isinstance(pool, SetPooling)
            summaries.append(_block(pool.block, pool.seed, x)[0])
        return summaries
    summed = x.sum(0)
    for block in encoder.blocks:
        summed = summed + block(summed)
        summaries.append(summed)
    return summaries


def _attend(attention: Attention, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention of rows x over rows y, head by head."""
    query, (key, value) = attention.query(x), attention.key_value(y).chunk(2, -1)
    size = query.shape[-1] // attention.heads
    out = []
    for head in range(attention.heads):
        cut = slice(head * size, (head + 1) * size)
        scores = query[:, cut] @ key[:, cut].T / math.sqrt(size)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        out.append(scores.softmax(-1) @ value[:, cut])
    result: Tensor = attention.out(torch.cat(out, -1))
    return result


def _block(block: AttentionBlock, x: Tensor, y: Tensor) -> Tensor:
    hidden = block.norm_attention(x + _attend(block.attention, x, y))
    result: Tensor = block.norm_out(hidden + block.feed_forward(hidden))
    return result


def _set_attention(block: nn.Module, x: Tensor) -> Tensor:
    if isinstance(block, InducedSetAttention):
        return _block(block.spread, x, _block(block.summarise, block.inducing, x))
    assert isinstance(block, FullSetAttention)
    return _block(block.block, x, x)


def latents_of(
    model: SeqSetVAE, summaries: list[Tensor], noise: Tensor | None
) -> tuple[Parameters, list[Tensor], Tensor]:
    levels = model.latents
    context = torch.zeros_like(summaries[0])
    parameters: Parameters = []
    samples: list[Tensor] = []
    for level in range(len(summaries) - 1, -1, -1):
        mean, logvar = levels.posterior[level](summaries[level] + context).chunk(2, -1)
        logvar = logvar.clamp(*levels.logvar_range)
        z = mean if noise is None else mean + torch.exp(logvar / 2) * noise[level]
        context = context + levels.spread[level](z)
        parameters.insert(0, (mean, logvar))
        samples.insert(0, z)
    return parameters, samples, context


def priors_of(model: SeqSetVAE, z: list[Tensor], past: Tensor | None) -> Parameters:
    levels = model.latents
    if levels.prior is None:
        return [(torch.zeros_like(z_l), torch.zeros_like(z_l)) for z_l in z]
    assert past is not None
    parameters: Parameters = []
    for level in range(len(z) - 1, -1, -1):
        mean, logvar = levels.prior[level](past).chunk(2, -1)
        parameters.insert(0, (mean, logvar.clamp(*levels.logvar_range)))
        past = past + levels.spread[level](z[level])
    return parameters


def time_vector(model: SeqSetVAE, one: OneSet, before: OneSet | None, place: int) -> Tensor:
    time = model.time
    t = one.position / time.scale
    gap = t.new_zeros(1) if before is None else (one.position - before.position).norm()[None]
    angles = [coordinate * time.steps.to(t.dtype) for coordinate in t]
    decays = [torch.exp(-coordinate.abs() * time.rates.to(t.dtype)) for coordinate in t]
    size = t.new_tensor([len(one.keys)])
    waves = [*[a.sin() for a in angles], *[a.cos() for a in angles], *decays]
    features = torch.cat([t, torch.log1p(gap) / 4, torch.log(size), *waves])
    encoded: Tensor = time.features(features) + time.place[min(place, POSITIONS - 1)]
    return encoded


def history_states(model: SeqSetVAE, tokens: list[Tensor]) -> Tensor:
    x, history = torch.stack(tokens), model.history
    sets = len(x)
    mask = torch.ones(sets, sets, dtype=torch.bool).tril() if history.causal else None
    for layer in history.layers:
        assert isinstance(layer, HistoryLayer)
        normed = layer.norm_attention(x)
        x = x + _attend(layer.attention, normed, normed, mask)
        x = x + layer.feed_forward(layer.norm_feed_forward(x))
    states: Tensor = history.norm(x)
    return states


def query_nll_of(decoder: QueryDecoder, condition: Tensor, one: OneSet) -> Tensor:
    state = decoder.state(condition)
    flat = decoder.heads.weight @ state + decoder.heads.bias
    numbers = flat.view(decoder.codes, 3)
    present = torch.zeros(decoder.codes, dtype=state.dtype)
    present[one.keys] = 1
    nll = functional.binary_cross_entropy_with_logits(numbers[:, 0], present, reduction="sum")
    for key, value, valued in zip(one.keys.tolist(), one.values, one.mask.tolist(), strict=True):
        if not valued:
            continue
        if decoder.is_numeric[key]:
            sigma = SMALLEST_SIGMA + functional.softplus(numbers[key, 2])
            nll = nll - torch.distributions.Normal(numbers[key, 1], sigma).log_prob(value)
        elif decoder.is_binary[key]:
            nll = nll - torch.distributions.Bernoulli(logits=numbers[key, 1]).log_prob(value)
        else:
            nll = nll - _class_log_probability(decoder, state, key, float(value))
    return nll


def _class_log_probability(decoder: QueryDecoder, state: Tensor, key: int, value: float) -> Tensor:
    assert decoder.category is not None
    slot = int(decoder.category.slot[key])
    classes = [v for v in decoder.category.values[slot].tolist() if math.isfinite(v)]
    logits = decoder.category.linear(state).view(decoder.category.values.shape)[slot]
    nearest = min(range(len(classes)), key=lambda i: abs(classes[i] - value))
    chosen: Tensor = logits[: len(classes)].log_softmax(-1)[nearest]
    return chosen


def chamfer_of(decoder: ChamferDecoder, condition: Tensor, target: Tensor) -> Tensor:
    place = torch.arange(len(target)) % SLOTS
    made = decoder.slots[place] + decoder.start(condition)
    for block in decoder.blocks:
        made = _set_attention(block, made)
    made = decoder.out(made)
    made = made.tanh() if decoder.tanh else made
    target = target.detach()
    total: Tensor = made.new_zeros(())
    lengths = [x.norm(dim=-1, keepdim=True).clamp_min(1e-6) for x in (made, target)]
    pairs = [(made, target), (made / lengths[0], target / lengths[1]), lengths]
    for a, b in pairs:
        distances = ((a[:, None] - b[None]) ** 2).sum(-1)
        total = total + distances.amin(1).mean() + distances.amin(0).mean()
    return total


def variable_axis_of(model: SeqSetVAE, axis: VariableAxis, sets: list[OneSet]) -> Tensor:
    """Each code's own events, one code at a time."""
    end = sets[-1].position
    keys = torch.cat([one.keys for one in sets])
    rows = torch.cat([_interpolate(model, axis.table, one) for one in sets])
    ages = torch.stack([(end - one.position).norm() / axis.scale for one in sets]).clamp_max(1)
    age = torch.cat([ages[t].expand(len(one.keys)) for t, one in enumerate(sets)])
    vectors = []
    for slot in range(axis.slots):
        own = axis.place[keys] == slot
        vectors.append(_variable(axis, slot, rows[own], age[own]))
    x = torch.stack(vectors)
    normed = axis.norm(x)
    query, key, value = axis.attention.project(normed).chunk(3, -1)
    size = query.shape[-1] // axis.attention.heads
    out = []
    for head in range(axis.attention.heads):
        cut = slice(head * size, (head + 1) * size)
        out.append((query[:, cut] @ key[:, cut].T / math.sqrt(size)).softmax(-1) @ value[:, cut])
    x = x + axis.attention.out(torch.cat(out, -1))
    flat: Tensor = (x + axis.feed_forward(x)).flatten()
    return flat


def _variable(axis: VariableAxis, slot: int, rows: Tensor, age: Tensor) -> Tensor:
    """One code's pools and facts, through its own linear map."""
    count = len(rows)
    pooled = rows.new_zeros(axis.pools, NUMBERS_A_POOL)
    if count:
        step = (age * AGES).long()
        scores = rows[:, : axis.pools] + axis.ages[slot, step]
        values = rows[:, axis.pools :].view(count, axis.pools, NUMBERS_A_POOL)
        pooled = (scores.softmax(0)[:, :, None] * values).sum(0)
    recency = 1 - float(age.min()) if count else 0.0
    facts = rows.new_tensor([math.log1p(count) / 2, float(count > 0), recency])
    return torch.cat([pooled.flatten(), facts]) @ axis.join.weight[slot] + axis.join.bias[slot]
