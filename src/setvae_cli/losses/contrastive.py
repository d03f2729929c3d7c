"""CoLES: slices of one subject attract, the nearest slices of other subjects are pushed away.

Babaev, Ovsov, Kireev, Ivanova, Gusev, Nazarov and Tuzhilin 2022, "CoLES: Contrastive Learning for
Event Sequences with Self-Supervision" (SIGMOD), with the loss of Hadsell, Chopra and LeCun 2006
and hard negative mining. With e_i the embedding of slice i divided by its length, s_i its subject
and d_ij = |e_i - e_j|:

    loss = sum_{i < j, s_i = s_j} d_ij^2  +  sum_i sum_{j in N(i)} max(0, margin - d_ij)^2

N(i) holds the `negatives` slices nearest to i among those of other subjects. A step divides the sum
by its slices. Slices are compared inside one micro-batch of one rank: those of other ranks, and of
other micro-batches of an accumulated step, are no negatives.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.term import Term
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE
from setvae_cli.settings.objective import ObjectiveSettings

COLES = "coles"
_LEAST_SQUARE = 1e-12  # below it a distance has no gradient: two slices that coincide


def coles_terms(
    model: SeqSetVAE, output: Output, batch: SetBatch, settings: ObjectiveSettings
) -> dict[str, Term]:
    """The term of a batch of slices, or of the slices beside a batch; of others there is none.

    Slices are embedded as subjects are when they are evaluated: with posterior means.

    Args:
        model: Whose output it is.
        output: Of the batch.
        batch: The batch.
        settings: Weight, margin, negatives.
    """
    slices = batch if batch.plan.slices else batch.slices
    if slices is None:
        return {}
    made = output if slices is batch else model(slices, noise_seed=None)
    loss = contrastive(
        made.embedding,
        slices.rows,
        negatives=settings.coles_negatives,
        margin=settings.coles_margin,
    )
    count = slices.rows.new_full((), len(slices.rows))
    return {COLES: Term(loss, count, settings.coles_weight, per=float(slices.plan.slices))}


def contrastive(
    embedding: Float[Tensor, "slices dim"],
    subject: Int64[Tensor, "slices"],
    *,
    negatives: int = 5,
    margin: float = 0.5,
) -> Float[Tensor, ""]:
    """The loss of a batch of slices, a sum over pairs in squared distance.

    Args:
        embedding: Of any length above 0; it is normalised here.
        subject: Equal numbers are slices of one subject.
        negatives: Hardest negatives of each slice; fewer where a batch holds fewer.
        margin: Distance from which a negative costs nothing; distances reach from 0 to 2.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        unit = normalised(embedding)
        same = subject[:, None] == subject[None, :]
        cosine = unit @ unit.T
        # The diagonal is 0 but for rounding, and each pair stands there twice.
        positive = torch.where(same, 2 - 2 * cosine, 0.0).fill_diagonal_(0.0).sum() / 2
        return positive + _negative(unit, cosine.detach(), same, negatives, margin)


def normalised(embedding: Float[Tensor, "slices dim"]) -> Float[Tensor, "slices dim"]:
    """Embeddings of length 1, in float32 at least."""
    wide = embedding if embedding.dtype == torch.float64 else embedding.float()
    return functional.normalize(wide, dim=1)


def _negative(
    unit: Float[Tensor, "slices dim"],
    cosine: Float[Tensor, "slices slices"],
    same: Bool[Tensor, "slices slices"],
    negatives: int,
    margin: float,
) -> Float[Tensor, ""]:
    """Cost of the hardest negatives, from differences: 2 - 2 cos loses the digits of a root."""
    kept = min(negatives, len(unit) - 1)
    found = cosine.masked_fill(same, -torch.inf).topk(kept, dim=1)
    difference = unit[:, None] - unit[found.indices]
    distance = difference.square().sum(2).clamp_min(_LEAST_SQUARE).sqrt()
    cost = functional.relu(margin - distance).square()
    return torch.where(found.values.isfinite(), cost, 0.0).sum()
