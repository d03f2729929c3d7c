"""Losses without labels: what follows a view, and what was hidden in it.

    forecast = sum over codes of Bernoulli(code occurs behind the cut)
             + sum over codes that occur with values of 1/2 (error of mean, smallest, largest)^2
    masked   = 1/2 (error of a hidden value)^2

Values are Gaussianised (data/targets.py), so that half a squared error is the negative log-density
of a unit Gaussian but for its constant: all three are nats.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from setvae_cli.data.batch import SetBatch, Targets
from setvae_cli.data.noise import counter_uniform
from setvae_cli.losses.term import Term
from setvae_cli.nn.decoders import DENSE_CODES
from setvae_cli.nn.forecast import ForecastHeads
from setvae_cli.nn.seq_set_vae import Output
from setvae_cli.settings.objective import ObjectiveSettings

FORECAST_TERMS = ("forecast_presence", "forecast_values", "masked")
SAMPLED = 256
FORECAST_DRAW = 4


def forecast_terms(
    heads: ForecastHeads,
    output: Output,
    batch: SetBatch,
    settings: ObjectiveSettings,
    noise_seed: int | None,
) -> dict[str, Term]:
    """Raw terms of views that have targets.

    Args:
        heads: Of the model whose output it is.
        output: Of the views.
        batch: The views.
        settings: Weights.
        noise_seed: Seed of sampled codes above 512 in training; None: the exact sum.

    Returns:
        `forecast_presence` and `forecast_values`, nats a subject of which something follows, and
        `masked`, nats a hidden value.
    """
    targets = batch.targets
    assert targets is not None, "the loader made no targets"
    embedding = output.embedding
    at_pairs = _full(heads.future.at(embedding, targets.pair_subject, targets.pair_code))
    absent = _absent(heads, embedding, batch, targets, noise_seed)
    errors = (at_pairs[:, 1:] - targets.statistics).square().sum(-1)
    made = heads.hidden_values(
        output.history, output.summary, targets.hidden_set, targets.hidden_code
    )
    hidden = (_full(made) - targets.hidden_value).square()
    subjects = targets.forecast.sum()
    weight = settings.forecast_weight
    return {
        "forecast_presence": Term(absent - at_pairs[:, 0].sum(), subjects, weight),
        "forecast_values": Term(0.5 * (errors * targets.valued).sum(), subjects, weight),
        "masked": Term(
            0.5 * hidden.sum(), subjects.new_full((), len(hidden)), settings.masked_weight
        ),
    }


def _absent(
    heads: ForecastHeads,
    embedding: Float[Tensor, "subjects size"],
    batch: SetBatch,
    targets: Targets,
    noise_seed: int | None,
) -> Float[Tensor, ""]:
    """Sum over codes of log(1 + e^logit), exact or estimated from sampled codes without bias."""
    if heads.codes <= DENSE_CODES or noise_seed is None:
        logits, share = heads.future.all(embedding, 0, 1), 1.0
    else:
        index = torch.arange(SAMPLED, device=embedding.device)
        plan = batch.plan
        uniform = counter_uniform(
            noise_seed, plan.epoch, plan.batch, index, index, draw=FORECAST_DRAW
        )
        codes = (uniform * heads.codes).long().clamp_max(heads.codes - 1)
        logits, share = heads.future.some(embedding, codes), heads.codes / SAMPLED
    each = functional.softplus(_full(logits)).sum(-1) * share
    return (each * targets.forecast).sum()


def _full(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """At least float32: sums of nats lose too much in bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
