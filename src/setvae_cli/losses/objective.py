"""The objective: raw terms of a micro-batch, weights of a step, and their sum.

    loss of a step = sum over subjects of [w_r recon + beta KL + regularisers] / (subjects x mean
                     sets a subject)  +  w_p sum of cross-entropies / labelled subjects

With forecast and coles their terms are added to the ELBO's, each with its weight; without elbo and
joint there is nothing but them.

Every term is a sum over this micro-batch divided by a count of the whole step, so that gradients
of micro-batches and ranks add up to the step's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.contrastive import COLES, coles_terms
from setvae_cli.losses.forecast import FORECAST_TERMS, forecast_terms
from setvae_cli.losses.kl import kl_levels
from setvae_cli.losses.reconstruction import chamfer, query_nll
from setvae_cli.losses.term import Term
from setvae_cli.nn.decoders import QueryDecoder
from setvae_cli.nn.mlp_head import Classified
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE
from setvae_cli.settings.objective import ObjectiveSettings

ClassWeights = tuple[tuple[float, ...], ...]
"""Weight of each class, one tuple a task."""


@dataclass(frozen=True)
class LossTerms:
    """Raw, unweighted sums over one micro-batch.

    Attributes:
        recon: Reconstruction, nats (distances with the chamfer decoder).
        kl: Raw KL of each level, nats, lowest level first.
        kl_objective: KL of each level after free bits and level weights, nats.
        pred: Cross-entropy a task over labelled subjects, nats.
        regularizer: The original's regularisers, each already times its weight.
        subjects, sets, elements: Counts of this micro-batch.
        further: Terms of other parts than elbo and joint, by name.
    """

    recon: Float[Tensor, ""]
    kl: Float[Tensor, "levels"]
    kl_objective: Float[Tensor, "levels"]
    pred: Float[Tensor, "tasks"]
    regularizer: Float[Tensor, ""]
    subjects: int
    sets: int
    elements: int
    further: Mapping[str, Term] = field(default_factory=dict)


def further_names(settings: ObjectiveSettings) -> tuple[str, ...]:
    """Names of the further terms of an objective."""
    forecast = FORECAST_TERMS if settings.has("forecast") else ()
    return (*forecast, COLES) if settings.has("coles") else forecast


@dataclass(frozen=True)
class Weights:
    """Weights of one step."""

    beta: float
    recon: float
    pred: float


def loss_terms(
    model: nn.Module,
    output: Output | Classified,
    batch: SetBatch,
    settings: ObjectiveSettings,
    *,
    classes: tuple[int, ...],
    noise_seed: int | None = None,
    class_weights: ClassWeights = (),
) -> LossTerms:
    """All terms of one forward pass; those of parts that are not summed are 0.

    Views of validation are a pass of their own, whose batches have targets, and so are slices: of
    these only terms of forecast and of coles are made, and of whole subjects only the others.

    Args:
        model: Whose output it is; its decoder holds the likelihood's heads.
        output: The forward pass.
        batch: The batch.
        settings: Free bits, regularisers, and label smoothing, which is for training only.
        classes: Classes of each task; 2 means one logit.
        noise_seed: Seed of sampled negatives in training; None: exact.
        class_weights: Weight of each class of each task; empty: 1.
    """
    smoothing = settings.label_smoothing if model.training else 0.0
    if isinstance(output, Classified):
        pred = cross_entropies(output.logits, batch, classes, smoothing, class_weights)
        return _only({}, 0, batch, pred)
    assert isinstance(model, SeqSetVAE)
    seed = noise_seed if model.training else None
    further = {}
    if batch.targets is not None:
        assert model.forecast is not None
        further = forecast_terms(model.forecast, output, batch, settings, seed)
    if settings.has("coles"):
        further |= coles_terms(model, output, batch, settings)
    whole = batch.targets is None and not batch.plan.slices
    if not settings.has("elbo") or not (model.training or whole):
        pred = output.embedding.new_zeros(len(classes))
        if settings.has("joint") and whole:  # fine-tuning without the terms of the VAE
            pred = cross_entropies(output.logits, batch, classes, smoothing, class_weights)
        return _only(further, len(output.posteriors), batch, pred)
    if isinstance(model.decoder, QueryDecoder):
        recon = query_nll(model.decoder, output.decoded, batch, seed)
    else:
        assert output.elements is not None
        assert batch.plan.by_set is not None
        recon = chamfer(output.decoded, output.elements, batch.plan.by_set)
    levels = len(output.posteriors)
    raw, objective = kl_levels(output.posteriors, output.priors, settings.free_bits)
    return LossTerms(
        recon=recon,
        kl=raw,
        kl_objective=torch.stack(
            [
                kl * weight
                for kl, weight in zip(objective, level_weights(levels, settings), strict=True)
            ]
        ),
        pred=cross_entropies(output.logits, batch, classes, smoothing, class_weights),
        regularizer=_regularizer(output, settings),
        subjects=batch.plan.subjects,
        sets=batch.plan.sets,
        elements=batch.plan.elements,
        further=further,
    )


def _only(
    further: Mapping[str, Term], levels: int, batch: SetBatch, pred: Float[Tensor, "tasks"]
) -> LossTerms:
    """Terms of a pass without ELBO."""
    nothing, none = pred.new_zeros(()), pred.new_zeros(levels)
    plan = batch.plan
    return LossTerms(
        nothing, none, none, pred, nothing, plan.subjects, plan.sets, plan.elements, further
    )


def level_weights(levels: int, settings: ObjectiveSettings) -> list[float]:
    """1 for every level, or rising from 1/levels for the lowest to 1."""
    rising = settings.rising_level_weights
    return [(level + 1) / levels if rising else 1.0 for level in range(levels)]


def cross_entropies(
    logits: Float[Tensor, "subjects outputs"],
    batch: SetBatch,
    classes: tuple[int, ...],
    smoothing: float,
    class_weights: ClassWeights = (),
) -> Float[Tensor, "tasks"]:
    """Cross-entropy of each task summed over its labelled subjects, in nats.

    With class weights a subject counts as much as its class; nothing is divided by their sum.
    """
    losses, column = [], 0
    for task, n in enumerate(classes):
        width = 1 if n == 2 else n
        each = _cross_entropy(logits[:, column : column + width], batch.labels[:, task], smoothing)
        if class_weights:
            weight = each.new_tensor(class_weights[task])
            each = each * weight.index_select(0, batch.labels[:, task].clamp_min(0).long())
        losses.append(torch.where(batch.label_mask[:, task], each, 0.0).sum())
        column += width
    return torch.stack(losses) if losses else logits.new_zeros(0)


def _cross_entropy(
    logits: Float[Tensor, "subjects width"], labels: Tensor, smoothing: float
) -> Float[Tensor, "subjects"]:
    labels = labels.clamp_min(0)
    if logits.shape[1] > 1:
        return functional.cross_entropy(
            logits, labels.long(), label_smoothing=smoothing, reduction="none"
        )
    target = labels.to(logits.dtype) * (1 - smoothing) + 0.5 * smoothing
    return functional.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")


def _regularizer(output: Output, settings: ObjectiveSettings) -> Float[Tensor, ""]:
    total = output.logits.new_zeros(())
    for q in output.posteriors:
        if settings.variance_regularizer:
            total = total + settings.variance_regularizer * q.logvar.square().sum()
        if settings.mean_regularizer:
            total = total + settings.mean_regularizer * q.mean.square().sum()
    return total


def weights_at(
    step: int, total_steps: int, settings: ObjectiveSettings, *, evaluating: bool = False
) -> Weights:
    """Weights of an optimizer step; a pure function, so that a resume goes on where it was.

    Args:
        step: The trainer's global step.
        total_steps: Planned optimizer steps.
        evaluating: Validations use the final weights, so that they can be compared.
    """
    recon, pred = settings.recon_weight, settings.pred_weight
    if evaluating:
        return Weights(settings.max_beta, recon * (0.5 if settings.dynamic_weights else 1.0), pred)
    if settings.dynamic_weights:
        recon *= max(0.5, 1 - step / 10_000)
        pred = min(pred, step / 5_000)
    return Weights(_beta(step, total_steps, settings), recon, pred)


def _beta(step: int, total_steps: int, settings: ObjectiveSettings) -> float:
    warmup = settings.beta_warmup
    steps = warmup if warmup >= 1 else warmup * total_steps
    if settings.beta_schedule == "cyclical":
        cycle = max(total_steps / settings.beta_cycles, 1.0)
        return settings.max_beta * min(1.0, 2 * math.fmod(step, cycle) / cycle)
    if settings.beta_schedule == "constant" or steps == 0:
        return settings.max_beta
    return settings.max_beta * min(1.0, step / steps)


def total(
    terms: LossTerms, weights: Weights, batch: SetBatch, sets_per_subject: float
) -> Float[Tensor, ""]:
    """This micro-batch's share of the step's loss.

    Args:
        terms: Raw sums.
        weights: Of this step.
        batch: Its plan knows the counts of the whole step.
        sets_per_subject: Mean sets a subject in training, a constant of the run.
    """
    plan = batch.plan
    elbo = weights.recon * terms.recon + weights.beta * terms.kl_objective.sum()
    loss = (elbo + terms.regularizer) / (plan.step_subjects * sets_per_subject)
    for task, labelled in enumerate(plan.step_labelled):
        loss = loss + terms.pred[task] * (weights.pred / max(labelled, 1))
    for term in terms.further.values():
        per = sets_per_subject if term.per is None else term.per
        loss = loss + term.sum * (term.weight / (plan.step_subjects * per))
    return loss
