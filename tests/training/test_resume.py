"""A run that is stopped and goes on ends with the bits of one that was never stopped."""

import os
import signal

import pytest
import torch

from setvae_cli.errors import Terminated
from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.metrics_log import read as read_log
from setvae_cli.training.fit import fit
from setvae_cli.training.records import Progress, Saved
from setvae_cli.training.resumption import prepare

OPTIONS = {
    "plain": {},
    "often validated": {"val_check_interval": 0.3, "patience": 0},
    "accumulated": {"gradient_accumulation_steps": 3, "batch_size": 2},
    "under a budget": {"max_elements_per_batch": 20},
    "without averaging": {"weight_averaging": 0.0},
    "two workers": {"num_workers": 2},
}


def state_of(folder):
    (final,) = folder.checkpoints.glob("final_*")
    return read(final).payload


def log_of(folder):
    records = read_log(folder.metrics).records
    return [{name: v for name, v in record.items() if name != "seconds"} for record in records]


def first_run(settings):
    return RunFolder(settings.run.output_dir / settings.run.name / "version_0")


def stop_at(step, number=signal.SIGTERM):
    """A listener that sends a signal in the middle of a run."""

    sent = []

    def sink(record):
        if isinstance(record, Progress) and record.step == step and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    return sink


def go_on(folder, store, sink=lambda record: None):
    resumption = prepare(folder.path, {})
    resumption.check(store)
    return fit(resumption.settings, store, sink, resumption)


def assert_same(first, second):
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    moments = [payload["optimizer_states"][0]["state"] for payload in (first, second)]
    for number, state in moments[0].items():
        for name, value in state.items():
            assert torch.equal(value, moments[1][number][name]), (number, name)


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr("setvae_cli.training.pulse.SECONDS", 0.0)


@pytest.mark.parametrize("case", OPTIONS)
def test_a_run_that_is_stopped_twice_ends_with_the_bits_of_one_that_was_not(
    store, settings, tmp_path, case
):
    options = {"max_epochs": 4, **OPTIONS[case]}
    whole = settings(**options, output_dir=str(tmp_path / "whole"))
    fit(whole, store, lambda record: None)
    parts = settings(**options, output_dir=str(tmp_path / "parts"))
    with pytest.raises(Terminated):
        fit(parts, store, stop_at(4))
    folder = first_run(parts)
    with pytest.raises(Terminated):
        go_on(folder, store, stop_at(8))
    result = go_on(folder, store)
    assert_same(state_of(first_run(whole)), state_of(folder))
    assert log_of(first_run(whole)) == log_of(folder)
    assert result.best.endswith(first_run(whole).best()[0].path.name)
