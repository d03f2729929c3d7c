"""The window over training batches: which steps it sees, and that it waits for no device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from setvae_cli.data.batch import SetBatch
from setvae_cli.monitor.measures import Measures
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.monitor.online import OnlineWindow
from setvae_cli.nn.gaussian import DiagGaussian
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE
from tests.models import ARCHITECTURES, make_batch, make_model
from tests.nn.test_no_synchronisation import NoQuestions

SIZES = [[2, 5, 1], [7, 7], [1, 1, 1, 4], [3]]


def batch_of(number: int) -> SetBatch:
    made = make_batch(SIZES, seed=number)
    return replace(made, rows=made.rows + 4 * number)


def step(window: OnlineWindow, model: SeqSetVAE, number: int) -> None:
    batch = batch_of(number)
    window.see(model, batch, model(batch), number)
    window.end_step()


def check(window: OnlineWindow) -> Measures | None:
    return window.check()


def seen_sets(found: Measures | None) -> int:
    return 0 if found is None else found.levels[0].sets


def test_a_tenth_of_the_steps_is_looked_at_until_there_are_enough_sets() -> None:
    model = make_model("base")
    window = OnlineWindow(model, free_bits=0.0, every=20)
    for number in range(20):
        step(window, model, number)
    assert window.is_due(20)
    assert not window.is_due(19)
    assert seen_sets(check(window)) == 10 * len([size for sizes in SIZES for size in sizes])
    for number in range(20, 80):
        step(window, model, number)
    assert seen_sets(check(window)) >= 2 * 10 * 6


def test_what_a_window_sees_is_what_one_pass_over_the_same_batches_sees() -> None:
    model = make_model("levels")
    window, whole = OnlineWindow(model, free_bits=0.1, every=1), Metrics.of(model, thorough=False)
    for number in range(5):
        step(window, model, number)
        with torch.no_grad():
            whole.update(model, batch_of(number), model(batch_of(number)))
    found, expected = check(window), whole.result()
    assert found is not None
    assert expected is not None
    for level, other in zip(found.levels, expected.levels, strict=True):
        assert level.kl == pytest.approx(other.kl)
        assert level.floor == pytest.approx(0.6)
        assert level.dimensions.mean_variance == pytest.approx(other.dimensions.mean_variance)


def test_a_step_that_is_skipped_was_not_seen() -> None:
    model = make_model("base")
    window = OnlineWindow(model, free_bits=0.0, every=1)
    batch = batch_of(0)
    window.see(model, batch, model(batch), 0)
    window.skip_step()
    assert check(window) is None
    step(window, model, 1)
    assert seen_sets(check(window)) == batch.plan.sets


def test_a_period_with_too_few_sets_fades_and_a_full_one_is_forgotten() -> None:
    model = make_model("base")
    window = OnlineWindow(model, free_bits=0.0, every=1)
    step(window, model, 0)
    first = seen_sets(check(window))
    step(window, model, 1)
    assert seen_sets(check(window)) == 1.5 * first
    for number in range(2, 20):
        step(window, model, number)
    check(window)
    step(window, model, 20)
    assert seen_sets(check(window)) == first


def test_a_window_goes_on_from_its_state_as_if_never_stopped() -> None:
    model = make_model("base")
    whole, found, expected = OnlineWindow(model, free_bits=0.0, every=4), [], []
    going = OnlineWindow(model, free_bits=0.0, every=4)
    for number in range(12):
        step(whole, model, number)
        step(going, model, number)
        if whole.is_due(number + 1):
            expected.append(check(whole))
            found.append(check(going))
        state = going.state()
        going = OnlineWindow(model, free_bits=0.0, every=4)
        going.load(state)
    assert found == expected


def test_the_floor_is_that_of_the_objective_as_it_is_now() -> None:
    model = make_model("base")
    window = OnlineWindow(model, free_bits=0.1, every=1)
    step(window, model, 0)
    window.free_bits = 0.5
    found = check(window)
    assert found is not None
    assert found.levels[0].floor == pytest.approx(3.0)


def test_a_state_of_another_model_is_refused() -> None:
    window = OnlineWindow(make_model("base"), free_bits=0.0, every=1)
    for other in ("levels", "original"):
        state = OnlineWindow(make_model(other), free_bits=0.0, every=1).state()
        with pytest.raises(ValueError, match="not those of this model"):
            window.load(state)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_that_is_looked_at_asks_the_device_for_no_number(name: str) -> None:
    model, batches = make_model(name).train(), [batch_of(0), batch_of(1)]
    window = OnlineWindow(model, free_bits=0.1, every=1)
    outputs = [model(batch) for batch in batches]
    with NoQuestions():
        for number in range(2):
            for batch, output in zip(batches, outputs, strict=True):
                window.see(model, batch, output, number)
            window.end_step()
            window.skip_step()


def test_a_window_follows_a_model_that_was_moved_after_it_was_made() -> None:
    model = make_model("base")
    window, batch = OnlineWindow(model, free_bits=0.0, every=1), batch_of(0)
    step(window, model, 0)
    state = window.state()
    window = OnlineWindow(model, free_bits=0.0, every=1)
    window.load(state)
    output = model(batch)
    meta = torch.device("meta")
    window.see(model.to(meta), batch.to("meta"), _moved(output, meta), 1)
    window.end_step()
    assert window._metrics.device == meta


def _moved(output: Output, device: torch.device) -> Output:
    """The same with its posteriors and priors on a device."""
    q, p = (
        tuple(DiagGaussian(one.mean.to(device), one.logvar.to(device)) for one in part)
        for part in (output.posteriors, output.priors)
    )
    return replace(output, latents=replace(output.latents, posteriors=q), priors=p)
