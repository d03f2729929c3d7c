"""What a forecast costs: equal to sums one by one, additive over a step, felt by every weight."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from setvae_cli.data.batch import SetBatch, Targets
from setvae_cli.losses.forecast import FORECAST_TERMS, SAMPLED
from setvae_cli.losses.objective import Weights, loss_terms, total
from setvae_cli.losses.term import means_of
from setvae_cli.nn.build import build_model
from setvae_cli.nn.forecast import ForecastHeads
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.merge import merge
from setvae_cli.settings.objective import ObjectiveSettings
from tests.models import CLASSES, KINDS, make_batch, make_model, make_vocabulary

SIZES = [[2, 3], [4], [1, 2, 2]]
FORECAST = ObjectiveSettings(objective="forecast")
WEIGHTS = Weights(0.3, 1.0, 1.0)


def forecasting(name: str = "base", codes: int = len(KINDS)) -> SeqSetVAE:
    model = make_model(name)
    model.forecast = ForecastHeads(10, 8, 12, codes).double()
    return model


def with_targets(batch: SetBatch, *, codes: int = len(KINDS)) -> SetBatch:
    """Random targets; nothing follows the subject in the middle."""
    generator = torch.Generator().manual_seed(1)
    subjects = batch.plan.subjects
    forecast = torch.ones(subjects, dtype=torch.bool)
    forecast[1:2] = False
    present = (torch.rand(subjects, codes, generator=generator) < 0.5) & forecast[:, None]
    present[forecast, 0] = True
    subject, code = present.nonzero(as_tuple=True)
    hidden = torch.arange(0, batch.plan.sets, 2)
    targets = Targets(
        forecast=forecast,
        pair_subject=subject,
        pair_code=code,
        statistics=torch.randn(len(code), 3, generator=generator, dtype=torch.float64),
        valued=torch.rand(len(code), generator=generator) < 0.7,
        hidden_set=hidden,
        hidden_code=hidden % codes,
        hidden_value=torch.randn(len(hidden), generator=generator, dtype=torch.float64),
    )
    return replace(batch, targets=targets)


def test_terms_are_sums_over_subjects_codes_and_hidden_values_one_by_one() -> None:
    model, batch = forecasting(), with_targets(make_batch(SIZES))
    output, targets, heads = model(batch), batch.targets, model.forecast
    terms = loss_terms(model, output, batch, FORECAST, classes=CLASSES).further
    presence = values = masked = torch.zeros((), dtype=torch.float64)
    weight = heads.future.weight.view(len(KINDS), 4, -1)
    bias = heads.future.bias.view(len(KINDS), 4)
    pairs = list(zip(targets.pair_subject.tolist(), targets.pair_code.tolist(), strict=True))
    for subject in range(len(SIZES)):
        for code in range(len(KINDS)):
            numbers = weight[code] @ output.embedding[subject] + bias[code]
            is_there = torch.tensor(float((subject, code) in pairs), dtype=torch.float64)
            if targets.forecast[subject]:
                presence = presence + binary_cross_entropy_with_logits(numbers[0], is_there)
            if is_there and targets.valued[pairs.index((subject, code))]:
                error = numbers[1:] - targets.statistics[pairs.index((subject, code))]
                values = values + 0.5 * error.square().sum()
    for place, code in enumerate(targets.hidden_code.tolist()):
        one = int(targets.hidden_set[place])
        context = heads.context(torch.cat([output.history[one], output.summary[one]]))
        made = heads.values.weight[code] @ context + heads.values.bias[code]
        masked = masked + 0.5 * (made - targets.hidden_value[place]).square()
    for name, expected in zip(FORECAST_TERMS, (presence, values, masked), strict=True):
        torch.testing.assert_close(terms[name].sum, expected, rtol=1e-8, atol=0)
    counts = [float(terms[name].count) for name in FORECAST_TERMS]
    assert counts == [2, 2, len(targets.hidden_value)]


def test_micro_batches_add_up_to_the_loss_and_gradient_of_the_step() -> None:
    model = forecasting()
    parts = [with_targets(make_batch(sizes, seed=i)) for i, sizes in enumerate(([[2], [3]], SIZES))]
    parts = [replace(part, plan=replace(part.plan, step_subjects=5)) for part in parts]
    single = [replace(part, plan=replace(part.plan, step_subjects=1)) for part in parts]

    def loss(batch: SetBatch) -> torch.Tensor:
        terms = loss_terms(model, model(batch), batch, FORECAST, classes=CLASSES)
        return total(terms, WEIGHTS, batch, sets_per_subject=3.0)

    step = sum(loss(part) for part in parts)
    torch.testing.assert_close(step, sum(loss(part) for part in single) / 5, rtol=1e-10, atol=0)


def test_a_subject_that_nothing_follows_adds_nothing() -> None:
    model, batch = forecasting(), with_targets(make_batch(SIZES))
    output = model(batch)
    changed = output.embedding.detach().clone()
    changed[1] += 10
    terms = [
        loss_terms(model, replace(output, embedding=e), batch, FORECAST, classes=CLASSES).further
        for e in (output.embedding, changed)
    ]
    for name in FORECAST_TERMS:
        torch.testing.assert_close(terms[0][name].sum, terms[1][name].sum)


IDLE = ("decoder.", "latents.prior", "past.", "head.residual", "head.out")


@pytest.mark.parametrize("objective", ["forecast", "elbo+forecast", "joint+forecast"])
def test_the_gradient_reaches_every_weight_of_the_objective(objective: str) -> None:
    settings = ObjectiveSettings(objective=objective)
    model, classes = forecasting().train(), CLASSES if settings.has("joint") else ()
    batch = with_targets(make_batch([[3, 4], [2], [5, 1, 6], [2, 2, 2, 2]] * 3))
    plan = replace(batch.plan, step_labelled=batch.plan.step_labelled[: len(classes)])
    batch, seed = replace(batch, plan=plan), 3 if settings.has("elbo") else None
    terms = loss_terms(
        model, model(batch, noise_seed=seed), batch, settings, classes=classes, noise_seed=3
    )
    total(terms, WEIGHTS, batch, 2.0).backward()
    unread = {"forecast": IDLE, "elbo+forecast": IDLE[3:], "joint+forecast": ()}[objective]
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached != name.startswith(unread), name


def test_a_pass_over_views_in_validation_has_no_elbo_and_one_over_whole_subjects_no_forecast() -> (
    None
):
    settings = ObjectiveSettings(objective="elbo+forecast")
    model, whole = forecasting(), make_batch(SIZES)
    views = with_targets(whole)
    first = loss_terms(model, model(whole), whole, settings, classes=CLASSES)
    other = loss_terms(model, model(views), views, settings, classes=CLASSES)
    assert float(first.recon.detach()) > 0
    assert not first.further
    assert float(other.recon) == 0
    assert float(other.kl.sum()) == 0
    assert set(other.further) == set(FORECAST_TERMS)


def test_sampled_codes_give_the_presence_of_a_wide_vocabulary_without_bias() -> None:
    torch.manual_seed(0)
    model, codes = forecasting(codes=1000).train(), 1000
    batch = with_targets(make_batch(SIZES), codes=codes)
    with torch.no_grad():
        model.forecast.future.bias.normal_(-3, 1)
        output = model(batch)
        exact = loss_terms(model, output, batch, FORECAST, classes=CLASSES).further
        sampled = [
            loss_terms(model, output, batch, FORECAST, classes=CLASSES, noise_seed=seed)
            .further["forecast_presence"]
            .sum
            for seed in range(60)
        ]
    mean, spread = torch.stack(sampled).mean(), torch.stack(sampled).std() / 60**0.5
    assert codes > SAMPLED
    assert abs(mean - exact["forecast_presence"].sum) < 4 * spread


@pytest.mark.parametrize("preset", ["tiny", "original"])
def test_heads_leave_all_other_first_weights_as_they_are(preset: str) -> None:
    settings = merge(TrainSettings, options={"preset": preset}, environment={}).settings.model
    made = []
    for forecasts in (False, True):
        torch.manual_seed(0)
        model = build_model(
            settings,
            make_vocabulary(),
            classes=CLASSES,
            set_size_p99=5.0,
            time_scale=100.0,
            forecasts=forecasts,
        )
        made.append(model.state_dict())
    plain, with_heads = made
    for name, weight in plain.items():
        assert torch.equal(weight, with_heads[name]), name
    added = with_heads.keys() - plain.keys()
    assert added
    assert all(name.startswith("forecast.") for name in added)


def test_means_tell_of_what_was_there() -> None:
    sums = {"forecast_presence": (6.0, 2.0), "forecast_values": (4.0, 2.0), "masked": (0.0, 0.0)}
    found = {"forecast": 5.0, "forecast_presence": 3.0, "forecast_values": 2.0}
    assert means_of(sums) == found
