"""Invariances, causality, determinism and gradients of whole models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from setvae_cli.data.batch import SetBatch, make_plan
from setvae_cli.losses.objective import loss_terms
from setvae_cli.nn.embedding import Knots, ProductEmbedding, interpolate
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.merge import merge
from setvae_cli.settings.objective import ObjectiveSettings
from tests.models import ARCHITECTURES, CLASSES, make_batch, make_model, make_vocabulary

SIZES = [[1, 4, 2], [3], [6, 1, 1, 2, 9], [2, 2]]
CAUSAL = [name for name in ARCHITECTURES if name != "bidirectional"]


def _take_elements(batch: SetBatch, order: torch.Tensor) -> SetBatch:
    return replace(
        batch,
        keys=batch.keys[order],
        values=batch.values[order],
        value_mask=batch.value_mask[order],
    )


def _take_subjects(batch: SetBatch, order: list[int]) -> SetBatch:
    sets = [s for b in order for s in range(batch.plan.sets) if batch.plan.set_subject[s] == b]
    elements = [
        e for s in sets for e in range(batch.plan.elements) if batch.plan.element_set[e] == s
    ]
    sizes, per_subject = batch.set_sizes[sets], batch.sets_per_subject[order]
    return replace(
        _take_elements(batch, torch.tensor(elements)),
        set_sizes=sizes,
        positions=batch.positions[sets],
        sets_per_subject=per_subject,
        rows=batch.rows[order],
        labels=batch.labels[order],
        label_mask=batch.label_mask[order],
        plan=make_plan(sizes, per_subject, with_sets=True),
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_order_of_elements_in_a_set_does_not_matter(name: str) -> None:
    model, batch = make_model(name), make_batch(SIZES)
    generator = torch.Generator().manual_seed(1)
    order = torch.argsort(
        batch.plan.element_set + torch.rand(batch.plan.elements, generator=generator) * 0.9
    )
    shuffled = _take_elements(batch, order)
    assert not torch.equal(order, torch.arange(len(order)))
    settings = ObjectiveSettings()
    a, b = model(batch), model(shuffled)
    torch.testing.assert_close(a.logits, b.logits, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(a.history, b.history, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        loss_terms(model, a, batch, settings, classes=CLASSES).recon,
        loss_terms(model, b, shuffled, settings, classes=CLASSES).recon,
        rtol=1e-6,
        atol=1e-9,
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_order_of_subjects_in_a_batch_does_not_matter(name: str) -> None:
    model, batch = make_model(name), make_batch(SIZES)
    order = [2, 0, 3, 1]
    moved = model(_take_subjects(batch, order))
    torch.testing.assert_close(model(batch).logits[order], moved.logits, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("training", [False, True], ids=["evaluating", "training"])
@pytest.mark.parametrize("name", CAUSAL)
def test_future_sets_do_not_change_the_past(name: str, training: bool) -> None:
    model = make_model(name, dropout=0.0).train(training)
    batch = make_batch([[3, 2, 4, 1]])
    changed = replace(batch, values=batch.values.clone(), positions=batch.positions.clone())
    changed.values[-5:] += 1.5
    changed.positions[-2:] += 30
    before = model(batch, noise_seed=3)
    after = model(changed, noise_seed=3)
    torch.testing.assert_close(before.history[:2], after.history[:2], rtol=0, atol=0)
    assert not torch.allclose(before.history[2:], after.history[2:])
    for p, changed_p in zip(before.priors, after.priors, strict=True):
        top = 3 if len(before.priors) == 1 else 2
        torch.testing.assert_close(p.mean[:top], changed_p.mean[:top], rtol=0, atol=0)


def test_a_relaxed_mask_lets_the_future_in_during_training_only() -> None:
    model, batch = (
        make_model("base", causal_relaxation=0.9, dropout=0.0),
        make_batch([[3, 2, 4, 1]]),
    )
    changed = replace(batch, values=batch.values.clone())
    changed.values[-5:] += 1.5
    torch.testing.assert_close(model(batch).history[:2], model(changed).history[:2], rtol=0, atol=0)
    model.train()
    torch.manual_seed(0)
    before = model(batch).history[:2]
    torch.manual_seed(0)
    assert not torch.allclose(before, model(changed).history[:2])


@pytest.mark.parametrize("preset", ["tiny", "base", "original"])
def test_every_parameter_of_every_preset_receives_gradient(preset: str) -> None:
    from setvae_cli.nn.build import build_model

    settings = merge(TrainSettings, options={"preset": preset}, environment={}).settings
    torch.manual_seed(0)
    model = build_model(
        settings.model, make_vocabulary(), classes=CLASSES, set_size_p99=5.0, time_scale=100.0
    )
    batch = make_batch([[3, 2, 40], [2, 5, 1, 1]])
    batch = replace(batch, values=batch.values.float(), positions=batch.positions.float())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(2):  # maps that start at zero pass gradient on after their first step
        optimizer.zero_grad()
        output = model(batch, noise_seed=0)
        terms = loss_terms(model, output, batch, settings.objective, classes=CLASSES, noise_seed=0)
        (terms.recon + terms.kl_objective.sum() + terms.pred.sum()).backward()
        optimizer.step()
    silent = [
        name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())
    ]
    assert silent == []


def test_evaluation_is_deterministic_and_draws_no_noise() -> None:
    model, batch = make_model("base"), make_batch(SIZES)
    state = torch.random.get_rng_state()
    torch.testing.assert_close(
        model(batch, noise_seed=1).logits, model(batch).logits, rtol=0, atol=0
    )
    assert torch.equal(state, torch.random.get_rng_state())


def test_latent_noise_depends_on_the_place_in_the_global_batch_and_not_on_the_rank() -> None:
    model = make_model("base", dropout=0.0, joined_dropout=0.0, head_dropout=0.0).train()
    whole = make_batch(SIZES)
    half = _take_subjects(whole, [2, 3])
    half = replace(half, plan=replace(half.plan, places=torch.tensor([2, 3])))
    together, alone = model(whole, noise_seed=5).logits[2:], model(half, noise_seed=5).logits
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-10)


def test_a_value_at_its_mean_does_not_erase_its_event() -> None:
    knots = Knots([np.linspace(-2, 2, 17)])
    table = torch.randn(17, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    at_mean = knots(torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(interpolate(table, at_mean)[0], table[8])
    product = ProductEmbedding(1, 4)
    erased = product(
        torch.zeros(1, dtype=torch.int32), torch.zeros(1), torch.ones(1, dtype=torch.bool)
    )
    assert not erased.any()


def test_values_beyond_the_outer_knots_belong_to_them_and_repeated_knots_count_once() -> None:
    knots = Knots([np.array([0.0, 0, 1, 1, 3]), np.zeros(0)])
    assert knots.rows == 4
    keys = torch.zeros(5, dtype=torch.int32)
    values = torch.tensor([-9.0, 0.5, 1.0, 2.0, 9.0], dtype=torch.float64)
    table = torch.tensor([[0.0], [1], [3], [7]], dtype=torch.float64)
    torch.testing.assert_close(
        interpolate(table, knots(keys, values))[:, 0], torch.tensor([0, 0.5, 1, 2, 3.0]).double()
    )
    presence = knots(torch.ones(1, dtype=torch.int32), torch.zeros(1, dtype=torch.float64))
    assert float(interpolate(table, presence)) == 7


def test_bfloat16_mixed_runs_forward_and_backward_in_every_architecture() -> None:
    for name in ARCHITECTURES:
        model, batch = make_model(name).float().train(), make_batch(SIZES)
        batch = replace(batch, values=batch.values.float(), positions=batch.positions.float())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(batch, noise_seed=0)
            terms = loss_terms(
                model, output, batch, ObjectiveSettings(), classes=CLASSES, noise_seed=0
            )
        (terms.recon + terms.kl.sum() + terms.pred.sum()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
