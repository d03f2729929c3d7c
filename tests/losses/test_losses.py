"""Published formulas, weights and masks of the objective."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from setvae_cli.data.batch import rectangles
from setvae_cli.losses.kl import kl_levels
from setvae_cli.losses.objective import cross_entropies, loss_terms, total, weights_at
from setvae_cli.losses.reconstruction import chamfer, query_nll
from setvae_cli.nn.gaussian import DiagGaussian
from setvae_cli.settings.objective import ObjectiveSettings
from tests.models import CLASSES, KINDS, make_batch, make_model, make_vocabulary


def test_kl_of_gaussians_is_the_closed_form() -> None:
    q = DiagGaussian(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(4)]]))
    kl = q.kl(DiagGaussian.standard_like(q))
    torch.testing.assert_close(kl, torch.tensor([[0.5, 0.5 * (4 - 1 - math.log(4))]]))


def test_kl_matches_torch_distributions() -> None:
    q = DiagGaussian(torch.randn(5, 3), torch.randn(5, 3))
    p = DiagGaussian(torch.randn(5, 3), torch.randn(5, 3))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.mean, (q.logvar / 2).exp()),
        torch.distributions.Normal(p.mean, (p.logvar / 2).exp()),
    )
    torch.testing.assert_close(q.kl(p), expected)


def test_free_bits_hold_for_each_dimension_and_raw_kl_stays_raw() -> None:
    q = DiagGaussian(torch.tensor([[2.0, 0.0, 0.0]]), torch.zeros(1, 3))
    raw, objective = kl_levels((q,), (DiagGaussian.standard_like(q),), free_bits=0.1)
    assert float(raw) == pytest.approx(2.0)
    assert float(objective) == pytest.approx(2.0 + 2 * 0.1)


def test_free_bits_below_the_floor_carry_no_gradient() -> None:
    mean = torch.tensor([[0.1]], requires_grad=True)
    q = DiagGaussian(mean, torch.zeros(1, 1))
    kl_levels((q,), (DiagGaussian.standard_like(q),), free_bits=0.5)[1].sum().backward()
    assert mean.grad is not None
    assert float(mean.grad) == 0


def test_the_reconstruction_target_carries_no_gradient() -> None:
    made, target = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    chamfer(made, target, rectangles(torch.tensor([3, 1]))).backward()
    assert made.grad is not None
    assert target.grad is None


def test_chamfer_of_a_set_with_itself_is_zero_in_any_order() -> None:
    x = torch.randn(5, 3, dtype=torch.float64)
    shuffled = x[[2, 0, 1, 4, 3]]
    assert float(chamfer(shuffled, x, rectangles(torch.tensor([3, 2])))) == pytest.approx(
        0, abs=1e-9
    )


def test_a_missing_label_adds_nothing_to_the_loss_or_its_gradient() -> None:
    batch = make_batch([[2], [3], [1]])
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    cross_entropies(logits, batch, CLASSES, 0.0)[1].backward()
    assert logits.grad is not None
    assert not logits.grad[0].any()
    assert logits.grad[1:, 1:].any()
    wild = replace(batch, labels=torch.where(batch.label_mask, batch.labels, 1))
    torch.testing.assert_close(
        cross_entropies(logits, batch, CLASSES, 0.1), cross_entropies(logits, wild, CLASSES, 0.1)
    )


def test_a_repeated_code_is_present_once_and_each_of_its_values_counts() -> None:
    model, batch = make_model("base"), make_batch([[2]])
    twice = replace(batch, keys=torch.tensor([0, 0], dtype=torch.int32), values=batch.values * 0)
    twice = replace(twice, value_mask=torch.tensor([True, False]))
    state = model(twice).decoded
    once = make_batch([[1]])
    once = replace(
        once,
        keys=torch.tensor([0], dtype=torch.int32),
        values=once.values * 0,
        value_mask=torch.tensor([True]),
    )
    torch.testing.assert_close(
        query_nll(model.decoder, state, twice, None), query_nll(model.decoder, state, once, None)
    )


def test_sampled_negatives_are_unbiased() -> None:
    kinds = ("presence",) * 600
    model, batch = (
        make_model("base", vocabulary=make_vocabulary(kinds)),
        make_batch([[2, 3]], kinds=kinds),
    )
    state = model(batch).decoded.detach()
    exact = float(query_nll(model.decoder, state, batch, None).detach())
    draws = torch.stack(
        [query_nll(model.decoder, state, batch, seed).detach() for seed in range(400)]
    )
    error = float(draws.mean()) - exact
    assert abs(error) < 4 * float(draws.std()) / 20
    assert float(draws.std()) > 0


def test_beta_rises_linearly_over_a_share_of_all_steps() -> None:
    s = ObjectiveSettings(max_beta=0.1, beta_warmup=0.2)
    betas = [weights_at(step, 1000, s).beta for step in (0, 100, 200, 900)]
    assert betas == pytest.approx([0, 0.05, 0.1, 0.1])


def test_cyclical_beta_returns_to_zero_in_each_cycle() -> None:
    s = ObjectiveSettings(max_beta=1.0, beta_schedule="cyclical", beta_cycles=4)
    betas = [weights_at(step, 400, s).beta for step in (0, 25, 50, 99, 100, 150)]
    assert betas == pytest.approx([0, 0.5, 1, 1, 0, 1])


def test_the_originals_dynamic_weights_are_final_in_validation() -> None:
    s = ObjectiveSettings(recon_weight=1.0, pred_weight=1.0, dynamic_weights=True)
    assert weights_at(2500, 20_000, s).recon == pytest.approx(0.75)
    assert weights_at(2500, 20_000, s).pred == pytest.approx(0.5)
    validating = weights_at(2500, 20_000, s, evaluating=True)
    assert (validating.recon, validating.pred) == pytest.approx((0.5, 1.0))


def test_evaluation_always_uses_the_final_weights_so_that_validations_compare() -> None:
    for schedule in ("linear", "cyclical", "constant"):
        s = ObjectiveSettings(max_beta=0.3, beta_schedule=schedule, pred_weight=3.0)
        found = {weights_at(step, 1000, s, evaluating=True) for step in (0, 250, 999, 1000)}
        assert len(found) == 1
        assert (found.pop().beta) == 0.3
    dynamic = ObjectiveSettings(pred_weight=3.0, dynamic_weights=True)
    assert weights_at(0, 20_000, dynamic, evaluating=True).pred == 3.0


def test_a_cyclical_beta_needs_no_warm_up() -> None:
    s = ObjectiveSettings(max_beta=1.0, beta_schedule="cyclical", beta_warmup=0)
    assert [weights_at(step, 400, s).beta for step in (0, 25, 50)] == pytest.approx([0, 0.5, 1])


def test_half_precision_keeps_kl_and_logits_in_full() -> None:
    model, batch = make_model("base").float(), make_batch([[2, 3], [4]])
    batch = replace(batch, values=batch.values.float(), positions=batch.positions.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
        terms = loss_terms(model, output, batch, ObjectiveSettings(), classes=CLASSES)
    assert {output.logits.dtype, terms.kl.dtype, output.posteriors[0].mean.dtype} == {torch.float32}
    assert all(
        (q.kl(p) >= -1e-6).all() for q, p in zip(output.posteriors, output.priors, strict=True)
    )


def test_a_category_without_a_class_in_training_is_presence_only() -> None:
    vocabulary = make_vocabulary()
    quantiles = list(vocabulary.quantiles)
    quantiles[3] = quantiles[3][:0]
    vocabulary = replace(vocabulary, quantiles=tuple(quantiles))
    model, batch = make_model("base", vocabulary=vocabulary), make_batch([[3, 2], [9]])
    assert 3 in batch.keys
    terms = loss_terms(model, model(batch), batch, ObjectiveSettings(), classes=CLASSES)
    assert terms.recon.isfinite()


def test_micro_batches_add_up_to_the_loss_of_the_whole_step() -> None:
    model, s = make_model("base"), ObjectiveSettings()
    weights = weights_at(500, 1000, s)

    def loss(sizes: list[list[int]], offset: int) -> torch.Tensor:
        batch = make_batch(WHOLE)
        from tests.nn.test_model_properties import _take_subjects

        part = _take_subjects(batch, list(range(offset, offset + len(sizes))))
        plan = replace(part.plan, step_subjects=4, step_labelled=batch.plan.step_labelled)
        part = replace(part, plan=plan)
        terms = loss_terms(model, model(part), part, s, classes=CLASSES)
        return total(terms, weights, part, sets_per_subject=2.0)

    WHOLE = [[1, 2], [3], [2, 2, 5], [4]]
    together = loss(WHOLE, 0)
    apart = loss(WHOLE[:1], 0) + loss(WHOLE[1:], 1)
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("kinds", [KINDS, KINDS * 70])
def test_half_precision_does_not_round_the_sum_of_a_likelihood(
    kinds: tuple[str, ...], sampled: bool
) -> None:
    decoder = make_model("base", vocabulary=make_vocabulary(kinds)).float().decoder
    batch = make_batch([[2, 5, 1] * 10, [7, 7] * 10], kinds=kinds)
    batch = replace(batch, values=batch.values.float(), positions=batch.positions.float())
    state = decoder(torch.randn(50, decoder.state[0].in_features))
    exact = query_nll(decoder, state, batch, 0 if sampled else None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = query_nll(decoder, state, batch, 0 if sampled else None)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=2e-4, atol=0)


def test_half_precision_does_not_cancel_small_distances() -> None:
    target = 8 + torch.randn(12, 16)
    made = target + 0.01 * torch.randn(12, 16)
    by_set = rectangles(torch.tensor([5, 7]))
    exact = chamfer(made, target, by_set)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(chamfer(made, target, by_set), exact)


def test_a_model_without_tasks_still_has_its_other_terms() -> None:
    batch = make_batch([[2, 1]])
    batch = replace(batch, labels=batch.labels[:, :0], label_mask=batch.label_mask[:, :0])
    assert cross_entropies(torch.zeros(1, 0), batch, (), 0.0).shape == (0,)
