"""How well a set is explained: a likelihood in nats, or the original's distances."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from setvae_cli.data.batch import Rectangles, SetBatch
from setvae_cli.data.noise import counter_uniform
from setvae_cli.nn.decoders import DENSE_CODES, ChamferDecoder, QueryDecoder
from setvae_cli.nn.ragged import segment_sum, to_rectangles

NEGATIVES = 256
SMALLEST_SIGMA = 0.1
NEGATIVE_DRAW = 3


def query_nll(
    decoder: QueryDecoder,
    state: Float[Tensor, "sets hidden"],
    batch: SetBatch,
    noise_seed: int | None,
) -> Float[Tensor, ""]:
    """Negative log-likelihood of the sets, in nats, summed over the batch.

    Presence of every code is Bernoulli; every occurrence of a value is Gaussian (sigma >= 0.1),
    Bernoulli or categorical by its code's kind. Above 512 codes, in training, the sum over all
    codes is estimated from 256 sampled ones with importance weights, without bias.

    Args:
        decoder: Holds the heads.
        state: The decoder's state of each set.
        batch: The targets.
        noise_seed: Seed of the sampled codes; None: the exact sum.
    """
    keys, sets = batch.keys.long(), batch.plan.element_set
    if decoder.codes <= DENSE_CODES:
        pair = sets * decoder.codes + keys
        presence = _presence_nll(decoder, state, pair)
        values = _full(decoder.heads.all(state, 1, 3).view(-1, 2).index_select(0, pair))
    else:
        numbers = _full(decoder.heads.at(state, sets, keys))
        first = _first_of_code(keys, sets, decoder.codes)
        absent = _all_softplus(decoder, state, batch, noise_seed)
        presence, values = absent - (numbers[:, 0] * first).sum(), numbers[:, 1:]
    return presence + _value_nll(decoder, state, batch, values).sum()


def recon_by_set(
    decoder: QueryDecoder | ChamferDecoder,
    decoded: Tensor,
    elements: Float[Tensor, "elements dim"] | None,
    batch: SetBatch,
) -> Float[Tensor, "sets"]:
    """Reconstruction of each set, exact: their sum is `query_nll` without a seed, or `chamfer`.

    Args:
        decoder, decoded, elements: As of the model and its output.
        batch: The targets.
    """
    plan = batch.plan
    if isinstance(decoder, ChamferDecoder):
        assert elements is not None
        assert plan.by_set is not None
        return torch.cat(_chamfer(decoded, elements, plan.by_set)).index_select(
            0, plan.by_set.group_inverse
        )
    keys, sets, codes = batch.keys.long(), plan.element_set, decoder.codes
    logits = _full(decoder.heads.all(decoded, 0, 1))
    present = logits.view(-1).index_select(0, sets * codes + keys)
    present = present * _first_of_code(keys, sets, codes)
    each = predicted_values(decoder, decoded, batch).nll - present
    absent = functional.softplus(logits).sum(-1)
    return absent + segment_sum(each[:, None], sets, plan.sets)[:, 0]


@dataclass(frozen=True)
class PredictedValues:
    """The density of every value given its code.

    Attributes:
        location, sigma: Of the Gaussian of a numeric code, z-scores; of other kinds the location
            of a binary code is its logit, and the rest means nothing.
        nll: Negative log density of the value, nats; 0 without one.
    """

    location: Float[Tensor, "elements"]
    sigma: Float[Tensor, "elements"]
    nll: Float[Tensor, "elements"]


def predicted_values(
    decoder: QueryDecoder, decoded: Float[Tensor, "sets hidden"], batch: SetBatch
) -> PredictedValues:
    """What the decoder says of each value.

    Args:
        decoder, decoded: As of the model and its output.
        batch: The targets.
    """
    keys, sets, codes = batch.keys.long(), batch.plan.element_set, decoder.codes
    if codes <= DENSE_CODES:
        numbers = decoder.heads.all(decoded, 1, 3).view(-1, 2)
        numbers = numbers.index_select(0, sets * codes + keys)
    else:
        numbers = decoder.heads.at(decoded, sets, keys)[:, 1:]
    numbers = _full(numbers)
    location, scale = numbers.t().contiguous()
    return PredictedValues(location, _sigma(scale), _value_nll(decoder, decoded, batch, numbers))


def _full(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """At least float32: a sum of 20 000 nats in bfloat16 is rounded to the next 128."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _presence_nll(
    decoder: QueryDecoder, state: Tensor, pair: Int64[Tensor, "elements"]
) -> Float[Tensor, ""]:
    """Bernoulli of every code of every set; a code that repeats in a set is present once."""
    logits = _full(decoder.heads.all(state, 0, 1))
    present = torch.zeros_like(logits)
    present.view(-1).index_fill_(0, pair, 1.0)
    return functional.binary_cross_entropy_with_logits(logits, present, reduction="sum")


def _value_nll(
    decoder: QueryDecoder, state: Tensor, batch: SetBatch, numbers: Float[Tensor, "elements 2"]
) -> Float[Tensor, "elements"]:
    """Density of every value given its code, from a location and a raw scale; 0 without one."""
    keys, values = batch.keys.long(), batch.values
    mean, scale = numbers.t().contiguous()  # functions of every other number are slow
    sigma = _sigma(scale)
    gaussian = 0.5 * ((values - mean) / sigma).square() + sigma.log() + 0.5 * math.log(2 * math.pi)
    is_binary = decoder.is_binary.index_select(0, keys)
    bits = functional.binary_cross_entropy_with_logits(
        mean, torch.where(is_binary, values, 0.0).to(mean.dtype), reduction="none"
    )
    nll = torch.where(decoder.is_numeric.index_select(0, keys), gaussian, 0.0)
    nll = torch.where(is_binary, bits, nll)
    if decoder.category is not None:
        log_p, is_category = decoder.category.log_probability(
            state, batch.plan.element_set, keys, values
        )
        nll = torch.where(is_category, -log_p, nll)
    return torch.where(batch.value_mask, nll, 0.0)


def _sigma(scale: Float[Tensor, "elements"]) -> Float[Tensor, "elements"]:
    return SMALLEST_SIGMA + functional.softplus(scale)


def _first_of_code(
    keys: Int64[Tensor, "elements"], sets: Int64[Tensor, "elements"], codes: int
) -> Bool[Tensor, "elements"]:
    """True for one element of each code present in a set: repeated codes count once."""
    pair = sets * codes + keys
    ordered, order = torch.sort(pair, stable=True)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return torch.empty_like(new).index_copy(0, order, new)


def _all_softplus(
    decoder: QueryDecoder, state: Tensor, batch: SetBatch, noise_seed: int | None
) -> Float[Tensor, ""]:
    """Sum over all codes and sets of log(1 + e^logit), exact or estimated from sampled codes."""
    if noise_seed is None:
        return functional.softplus(_full(decoder.heads.all(state, 0, 1))).sum()
    index = torch.arange(NEGATIVES, device=state.device)
    uniform = counter_uniform(
        noise_seed, batch.plan.epoch, batch.plan.batch, index, index, draw=NEGATIVE_DRAW
    )
    codes = (uniform * decoder.codes).long().clamp_max(decoder.codes - 1)
    logits = _full(decoder.heads.some(state, codes))
    return functional.softplus(logits).sum() * (decoder.codes / NEGATIVES)


def chamfer(
    made: Float[Tensor, "elements dim"],
    target: Float[Tensor, "elements dim"],
    by_set: Rectangles,
) -> Float[Tensor, ""]:
    """The original's three Chamfer distances between made and true elements, summed over sets.

    For vectors, unit directions and magnitudes: the mean squared distance to the nearest, from
    both sides. These are distances, not nats; the target carries no gradient.
    """
    return torch.stack([rows.sum() for rows in _chamfer(made, target, by_set)]).sum()


def _chamfer(
    made: Float[Tensor, "elements dim"],
    target: Float[Tensor, "elements dim"],
    by_set: Rectangles,
) -> list[Float[Tensor, "_rows"]]:
    """The distances of each set, bucket by bucket."""
    made, target, found = _full(made), _full(target.detach()), []
    with torch.autocast(made.device.type, enabled=False):  # a product less norms would cancel
        parts = zip(to_rectangles(made, by_set), to_rectangles(target, by_set), strict=True)
        for bucket, (a, b) in zip(by_set.buckets, parts, strict=True):
            vectors = _squared_distances(a, b)
            directions = _squared_distances(_unit(a), _unit(b))
            lengths = (_length(a) - _length(b).transpose(1, 2)).square()
            nearest = [_nearest(each, bucket.mask) for each in (vectors, directions, lengths)]
            found.append(torch.stack(nearest).sum(0))
    return found


def _length(x: Float[Tensor, "rows width dim"]) -> Float[Tensor, "rows width 1"]:
    return x.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()


def _unit(x: Float[Tensor, "rows width dim"]) -> Float[Tensor, "rows width dim"]:
    return x / _length(x)


def _squared_distances(a: Tensor, b: Tensor) -> Float[Tensor, "rows width width"]:
    """One batched product, with the squared norms added."""
    squares = a.square().sum(-1)[:, :, None] + b.square().sum(-1)[:, None, :]
    return (squares - 2 * a @ b.transpose(1, 2)).clamp_min(0)


def _nearest(
    distances: Float[Tensor, "rows width width"], mask: Bool[Tensor, "rows width"] | None
) -> Float[Tensor, "rows"]:
    if mask is None:
        return distances.amin(2).mean(1) + distances.amin(1).mean(1)
    size = mask.sum(1)
    forth = distances.masked_fill(~mask[:, None, :], torch.inf).amin(2).masked_fill(~mask, 0)
    back = distances.masked_fill(~mask[:, :, None], torch.inf).amin(1).masked_fill(~mask, 0)
    return (forth.sum(1) + back.sum(1)) / size
