"""The same sets with another subject's latents, or another subject's past.

A model that uses latents reconstructs worse with those of another subject; one whose decoder
ignores them does not notice. What is exchanged is the residual posterior mean u of residual.py:

    z' = mean_p + sigma_p u(partner)

so that a level that only repeats its prior keeps its latents. The partner of a set has its place in
the next subject of the batch. The history is recomputed from the exchanged latents.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.reconstruction import recon_by_set
from setvae_cli.nn.gaussian import DiagGaussian
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE


def partners(batch: SetBatch) -> Int64[Tensor, "sets"]:
    """For each set one of the next subject: the same place, counted round where there is none."""
    plan = batch.plan
    place = torch.arange(plan.sets, device=plan.set_subject.device)
    place = place - plan.subject_start.index_select(0, plan.set_subject)
    subject = (plan.set_subject + 1) % plan.subjects
    sizes = batch.sets_per_subject.index_select(0, subject)
    return plan.subject_start.index_select(0, subject) + place % sizes


def right_cost(model: SeqSetVAE, batch: SetBatch, output: Output) -> Float[Tensor, "sets"]:
    """Reconstruction of each set as it was, nats (distances with the chamfer decoder)."""
    return recon_by_set(model.decoder, output.decoded, output.elements, batch)


def cost_with_foreign_latents(
    model: SeqSetVAE, batch: SetBatch, output: Output, level: int
) -> Float[Tensor, "sets"]:
    """Reconstruction of each set where one level's latents are another subject's.

    Args:
        model: In evaluation mode.
        batch: More than one subject.
        output: Of this batch, without noise.
        level: From 0, the lowest.
    """
    q, p = output.posteriors[level], output.priors[level]
    unit = (q.mean - p.mean) * torch.exp(-0.5 * p.logvar)
    # As a difference: where nothing changes, the latents keep their bits.
    change = (unit.index_select(0, partners(batch)) - unit) * torch.exp(0.5 * p.logvar)
    samples = list(output.latents.samples)
    samples[level] = samples[level] + change
    latents = model.latents.replaced(output.latents, samples)
    remembered = model.remember(batch, output.summary, latents)
    return recon_by_set(model.decoder, remembered.decoded, output.elements, batch)


def costs_with_foreign_past(
    model: SeqSetVAE, batch: SetBatch, output: Output, right: Float[Tensor, "sets"]
) -> tuple[Float[Tensor, "sets"], Float[Tensor, "sets"]] | None:
    """Reconstruction and KL of each set, with its own past and with another subject's.

    Args:
        model: In evaluation mode.
        batch: More than one subject.
        output: Of this batch, without noise.
        right: Reconstruction of each set as it was.

    Returns:
        None where neither the prior nor the decoder is given the past.
    """
    if output.past is None:
        return None
    foreign = output.past.index_select(0, partners(batch))
    decoded = model.decode(batch, output.latents, output.history, foreign)
    priors = model.latents.priors(output.latents, foreign)
    changed = recon_by_set(model.decoder, decoded, output.elements, batch)
    return right + _kl(output, output.priors), changed + _kl(output, priors)


def _kl(output: Output, priors: tuple[DiagGaussian, ...]) -> Float[Tensor, "sets"]:
    each = [q.kl(p).sum(-1) for q, p in zip(output.posteriors, priors, strict=True)]
    return torch.stack(each).sum(0)
