"""A run that is stopped and goes on ends with the bits of one that was never stopped."""

import pytest

from setvae_cli.errors import Terminated
from setvae_cli.training.fit import fit
from tests.training.resuming import assert_same_end, first_run, go_on, ignore, stop_at

OPTIONS = {
    "plain": {},
    "often validated": {"val_check_interval": 0.3, "patience": 0},
    "accumulated": {"gradient_accumulation_steps": 3, "batch_size": 2},
    "under a budget": {"max_elements_per_batch": 20},
    "without averaging": {"weight_averaging": 0.0},
    "often saved": {"save_every_minutes": 1e-9},
    "two workers": {"num_workers": 2},
    "a forecast": {"objective": "forecast", "input_dropout": 0.3},
    "all but slices": {"objective": "joint+forecast", "forecast_cut_share": 0.5},
}


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr("setvae_cli.training.pulse.SECONDS", 0.0)


SLOW = ("often validated", "accumulated", "under a budget", "without averaging", "often saved")
SLOW += ("two workers", "a forecast", "all but slices")
CASES = [pytest.param(case, marks=pytest.mark.slow if case in SLOW else ()) for case in OPTIONS]


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_stopped_twice_ends_with_the_bits_of_one_that_was_not(
    store, settings, tmp_path, case
):
    options = {"max_epochs": 4, **OPTIONS[case]}
    whole = settings(**{**options, "save_every_minutes": 0}, output_dir=str(tmp_path / "whole"))
    fit(whole, store, ignore)
    parts = settings(**options, output_dir=str(tmp_path / "parts"))
    with pytest.raises(Terminated):
        fit(parts, store, stop_at(4))
    folder = first_run(parts)
    with pytest.raises(Terminated):
        go_on(folder.path, store, stop_at(8))
    result = go_on(folder.path, store)
    assert_same_end(first_run(whole), folder)
    assert result.best.endswith(first_run(whole).best()[0].path.name)
