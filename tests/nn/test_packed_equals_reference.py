"""The packed model against the same maths one set at a time, in float64."""

from __future__ import annotations

import pytest
import torch

from setvae_cli.data.noise import counter_normal
from setvae_cli.losses.objective import LossTerms, loss_terms
from setvae_cli.nn.seq_set_vae import LATENT_DRAW
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.testing.reference import reference
from tests.models import ARCHITECTURES, CLASSES, make_batch, make_model

SIZES = [[1, 4, 2], [3], [6, 1, 1, 2, 9], [2, 2]]
EVERYTHING = ObjectiveSettings(
    free_bits=0.3,
    label_smoothing=0.1,
    variance_regularizer=0.2,
    mean_regularizer=0.1,
    rising_level_weights=True,
)


def _sum(terms: LossTerms) -> torch.Tensor:
    return terms.recon + terms.kl_objective.sum() + terms.pred.sum() + terms.regularizer


def _gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _close(packed: torch.Tensor, one_by_one: torch.Tensor, scale: float = 1.0) -> None:
    torch.testing.assert_close(packed, one_by_one, rtol=1e-8, atol=1e-11 * scale)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_packed_outputs_and_losses_equal_one_set_at_a_time(name: str) -> None:
    model, batch = make_model(name), make_batch(SIZES)
    output = model(batch)
    terms = loss_terms(model, output, batch, EVERYTHING, classes=CLASSES)
    expected = reference(model, batch, EVERYTHING, classes=CLASSES)
    _close(output.logits, expected.logits)
    _close(output.embedding, expected.embedding)
    _close(output.history, expected.history)
    _close(torch.stack([q.mean for q in output.posteriors]), expected.posterior_means)
    _close(torch.stack([p.mean for p in output.priors]), expected.prior_means)
    for term in ("recon", "kl", "kl_objective", "pred", "regularizer"):
        _close(getattr(terms, term), getattr(expected.terms, term))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_packed_gradients_equal_one_set_at_a_time(name: str) -> None:
    model, batch = make_model(name), make_batch(SIZES)
    terms = loss_terms(model, model(batch), batch, EVERYTHING, classes=CLASSES)
    packed = _gradients(model, _sum(terms))
    expected = _gradients(model, _sum(reference(model, batch, EVERYTHING, classes=CLASSES).terms))
    assert packed.keys() == expected.keys()
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    for parameter, gradient in packed.items():
        _close(gradient, expected[parameter], scale)


@pytest.mark.parametrize("name", ["base", "original", "levels"])
def test_sampled_latents_equal_one_set_at_a_time_with_the_same_noise(name: str) -> None:
    model = make_model(name, dropout=0.0, joined_dropout=0.0, head_dropout=0.0).train()
    batch, plan = make_batch(SIZES), make_batch(SIZES).plan
    levels, latent = len(model.latents.posterior), model.latents.latent_dim
    start = plan.subject_start[plan.set_subject]
    noise = counter_normal(
        7,
        0,
        0,
        plan.set_subject,
        torch.arange(plan.sets) - start,
        draw=LATENT_DRAW,
        dim=levels * latent,
    )
    noise = noise.double().unflatten(-1, (levels, latent))
    output = model(batch, noise_seed=7)
    expected = reference(model, batch, EVERYTHING, classes=CLASSES, noise=noise)
    _close(output.logits, expected.logits)
    _close(output.history, expected.history)
    terms = loss_terms(model, output, batch, EVERYTHING, classes=CLASSES, noise_seed=7)
    _close(terms.recon, expected.terms.recon)
    _close(terms.kl, expected.terms.kl)


def test_a_large_vocabulary_is_scored_like_a_small_one() -> None:
    kinds = ("numeric",) * 599 + ("binary",)
    from tests.models import make_vocabulary

    model = make_model("base", vocabulary=make_vocabulary(kinds))
    batch = make_batch(SIZES, kinds=kinds)
    terms = loss_terms(model, model(batch), batch, EVERYTHING, classes=CLASSES)
    expected = reference(model, batch, EVERYTHING, classes=CLASSES)
    _close(terms.recon, expected.terms.recon)
