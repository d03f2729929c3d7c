"""All measurements of a real model: exchanged latents and pasts, merging, resuming, honesty."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.objective import loss_terms
from setvae_cli.losses.reconstruction import recon_by_set
from setvae_cli.monitor.history_use import LinearFit
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.monitor.swaps import (
    cost_with_foreign_latents,
    costs_with_foreign_past,
    partners,
    right_cost,
)
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.objective import ObjectiveSettings
from tests.models import ARCHITECTURES, CLASSES, make_batch, make_model, make_vocabulary
from tests.nn.test_no_synchronisation import NoQuestions

SIZES = [[2, 5, 1], [7, 7], [1, 1, 1, 4], [3]]


def batches(number: int) -> list:
    made = [make_batch(SIZES, seed=seed) for seed in range(number)]
    return [replace(b, rows=b.rows + 4 * i) for i, b in enumerate(made)]


def measure(model: SeqSetVAE, some: list) -> Metrics:
    metrics = Metrics.of(model, free_bits=0.1)
    with torch.no_grad():
        for batch in some:
            metrics.update(model, batch, model(batch))
    return metrics


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_reconstruction_by_set_adds_up_to_the_loss(name: str) -> None:
    model, batch = make_model(name), make_batch(SIZES)
    output = model(batch)
    terms = loss_terms(model, output, batch, ObjectiveSettings(), classes=CLASSES)
    each = recon_by_set(model.decoder, output.decoded, output.elements, batch)
    torch.testing.assert_close(each.sum(), terms.recon, rtol=1e-10, atol=0)


def test_reconstruction_by_set_adds_up_with_many_codes() -> None:
    kinds = ("numeric", "binary") * 300
    model = make_model("base", vocabulary=make_vocabulary(kinds))
    batch = make_batch(SIZES, kinds=kinds)
    output = model(batch)
    terms = loss_terms(model, output, batch, ObjectiveSettings(), classes=CLASSES)
    torch.testing.assert_close(
        right_cost(model, batch, output).sum(), terms.recon, rtol=1e-10, atol=0
    )


def test_a_partner_is_another_subjects_set_of_the_same_place() -> None:
    batch = make_batch(SIZES)
    assert partners(batch).tolist() == [3, 4, 3, 5, 6, 9, 9, 9, 9, 0]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_foreign_latents_are_those_of_a_pass_given_them_from_the_start(name: str) -> None:
    model, batch = make_model(name), make_batch(SIZES)
    output = model(batch)
    level = len(output.posteriors) - 1
    q, p = output.posteriors[level], output.priors[level]
    unit = (q.mean - p.mean) / (p.logvar / 2).exp()
    foreign = p.mean + (p.logvar / 2).exp() * unit[partners(batch)]
    samples = list(output.latents.samples)
    samples[level] = foreign
    latents = model.latents.replaced(output.latents, samples)
    model.latents.forward = lambda summaries, noise: latents
    expected = right_cost(model, batch, model(batch))
    del model.latents.forward
    found = cost_with_foreign_latents(model, batch, output, level)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["base", "bottleneck", "levels"])
def test_a_level_that_repeats_its_prior_loses_nothing_by_foreign_latents(name: str) -> None:
    model, batch = make_model(name), make_batch(SIZES)
    output = model(batch)
    dead = replace(output, latents=replace(output.latents, posteriors=output.priors))
    right = right_cost(model, batch, output)
    assert torch.equal(cost_with_foreign_latents(model, batch, dead, 0), right)


def test_a_decoder_that_ignores_latents_loses_nothing_by_foreign_ones() -> None:
    model, batch = make_model("standard prior"), make_batch(SIZES)  # decodes h, in which x stands
    with torch.no_grad():
        model.latents.spread[0].weight.zero_()
    output = model(batch)
    right = right_cost(model, batch, output)
    assert torch.equal(cost_with_foreign_latents(model, batch, output, 0), right)
    found = measure(model, batches(3)).result()
    assert found.levels[0].kl > 0.1
    assert found.levels[0].decoder_gap.about_zero


def test_a_model_that_uses_latents_has_a_gap() -> None:
    model = make_model("base", decoder_context="latent", prior="standard")
    with torch.no_grad():
        for parameter in (*model.latents.posterior.parameters(), *model.decoder.parameters()):
            parameter.mul_(3)
    found = measure(model, batches(8)).result()
    gap = found.levels[0].decoder_gap
    assert not gap.about_zero
    assert gap.right == pytest.approx(found.legacy["reconstruction_loss"])


def foreign_past(model: SeqSetVAE, batch: SetBatch):
    output = model(batch)
    return costs_with_foreign_past(model, batch, output, right_cost(model, batch, output))


def test_a_foreign_past_changes_what_is_given_the_past_only() -> None:
    batch = make_batch(SIZES)
    for name in ("base", "levels", "chamfer full"):
        model = make_model(name)
        right, changed = foreign_past(model, batch)
        first = batch.plan.subject_start  # nothing lies before a first set, in any subject
        torch.testing.assert_close(changed[first], right[first])
        assert (changed - right).abs().max() > 1e-3
    model = make_model("original")
    assert foreign_past(model, batch) is None
    assert measure(model, [batch]).result().history.gap is None


@pytest.mark.parametrize("name", ["base", "levels", "original"])
def test_shards_merge_and_a_state_goes_on(name: str, tmp_path) -> None:
    model, some = make_model(name), batches(6)
    whole, shards = measure(model, some), [measure(model, some[rank::2]) for rank in (0, 1)]
    torch.save(shards[0].state(), tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)
    merged = Metrics.from_state(state, torch.device("cpu"))
    _same_values(merged.result(), shards[0].result(), rtol=0)
    merged.merge(shards[1])
    _same_values(merged.result(), whole.result(), rtol=1e-7)


def test_kl_is_the_raw_one_of_the_loss_and_knows_its_floor() -> None:
    model, (batch,) = make_model("levels"), batches(1)
    found = measure(model, [batch]).result()
    settings = ObjectiveSettings(free_bits=0.1)
    terms = loss_terms(model, model(batch), batch, settings, classes=CLASSES)
    assert [level.kl for level in found.levels] == pytest.approx(
        (terms.kl / batch.plan.sets).tolist()
    )
    assert [level.floor for level in found.levels] == pytest.approx([0.6] * 3)
    assert found.legacy["kl_divergence"] == pytest.approx(sum(level.kl for level in found.levels))


def test_one_subject_a_batch_leaves_the_gap_absent() -> None:
    model, batch = make_model("base"), make_batch([[2, 5, 1]])
    found = measure(model, [batch, replace(batch, rows=batch.rows + 1)]).result()
    assert found.levels[0].decoder_gap is None
    assert "reconstruction_loss" not in found.legacy


def test_nothing_is_said_before_the_first_set() -> None:
    assert Metrics.of(make_model("base")).result() is None


def test_a_window_forgets_what_decays() -> None:
    model, some = make_model("base"), batches(4)
    window, last = Metrics.of(model, thorough=False), Metrics.of(model, thorough=False)
    for batch in some:
        window.decay(1e-9)
        window.update(model, batch, model(batch))
    last.update(model, some[-1], model(some[-1]))
    assert window.result().levels[0].dimensions.kl == pytest.approx(
        last.result().levels[0].dimensions.kl, rel=1e-6
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_update_asks_the_device_for_no_number(name: str) -> None:
    model, batch = make_model(name), make_batch(SIZES)
    metrics, output = Metrics.of(model), model(batch)
    with NoQuestions(), torch.no_grad():
        metrics.update(model, batch, output)


def test_the_share_explained_is_that_of_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = make_batch([[1] * 50] * 8)
    z = torch.randn(400, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    h = z @ torch.tensor([[1.0, 0], [2, 0], [0, 3]], dtype=torch.float64) + noise
    fit, copy, chance = (LinearFit(3, 2, z.device) for _ in range(3))
    fit.update(z, h, batch.plan)
    copy.update(z, z[:, :2] + 5, batch.plan)
    chance.update(z, noise, batch.plan)
    assert fit.explained() == pytest.approx(14 / 16, abs=0.03)
    assert copy.explained() == pytest.approx(1)
    assert chance.explained() == pytest.approx(0, abs=0.02)


def _same_values(one, other, rtol: float) -> None:
    for a, b in zip(one.levels, other.levels, strict=True):
        assert (a.sets, a.subjects, a.active) == (b.sets, b.subjects, b.active)
        assert a.dimensions.kl == pytest.approx(b.dimensions.kl, rel=rtol, abs=0)
        for name in ("information", "gaussian_kl"):
            found, expected = getattr(a, name), getattr(b, name)
            assert found.value == pytest.approx(expected.value, rel=rtol, abs=rtol)
        assert a.decoder_gap.cost.low == pytest.approx(b.decoder_gap.cost.low, rel=rtol, abs=rtol)
    if other.history.explained is None:  # too few sets for so many latents
        assert one.history.explained is None
    else:
        explained = pytest.approx(other.history.explained, rel=rtol, abs=rtol)
        assert one.history.explained == explained
