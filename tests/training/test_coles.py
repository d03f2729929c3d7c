"""Contrastive training: what it writes, what it needs, and that it goes on as others do."""

import re

import pytest

from setvae_cli.errors import SettingsError, Terminated
from setvae_cli.runs.metrics_log import read as read_log
from setvae_cli.training.fit import fit
from tests.training.resuming import assert_same_end, first_run, go_on, ignore, stop_at
from tests.training.teams import TWO, train

COLES = {"coles_slices": 3, "batch_size": 8, "gradient_accumulation_steps": 1}
FORECAST = {"forecast_cut": (0.2, 0.9), "forecast_horizon": 1.0}


def tags_of(folder):
    return {tag for record in read_log(folder.metrics).records for tag in record}


def test_a_contrastive_run_logs_its_loss_and_recall_and_reads_no_label(store, settings):
    given = settings(objective="coles", max_epochs=1, **COLES)
    result = fit(given, store, ignore)
    records = read_log(first_run(given).metrics).records
    tags = {tag for record in records for tag in record}
    assert {"train_coles_epoch", "val_coles", "val_recall_1", "val_recall_5", "val_loss"} <= tags
    assert not {"val_recon", "val_pred", "val_auc", "train_kl_epoch", "train_pred_epoch"} & tags
    (validated,) = (record for record in records if "val_coles" in record)
    assert validated["val_loss"] == pytest.approx(validated["val_coles"])
    assert 0 <= validated["val_recall_1"] <= 1
    assert result.chosen_by == "val_loss"
    assert result.metrics == ()
    assert {"coles", "recall_1"} <= set(result.losses)


SUMS = {
    "joint+forecast+coles": {"val_recon", "val_auc", "val_forecast", "val_masked"},
    "elbo+coles": {"val_recon", "val_kl"},
    "forecast+coles": {"val_forecast", "val_masked"},
}


@pytest.mark.parametrize(
    "objective",
    [next(iter(SUMS)), *(pytest.param(s, marks=pytest.mark.slow) for s in list(SUMS)[1:])],
)
def test_a_sum_logs_the_terms_of_all_its_parts(store, settings, objective):
    given = settings(objective=objective, max_epochs=1, **COLES, **FORECAST)
    fit(given, store, ignore)
    tags = tags_of(first_run(given))
    assert SUMS[objective] | {"val_coles", "val_recall_1", "train_coles_epoch"} <= tags
    assert ("val_auc" in tags) == ("joint" in objective)


def test_a_batch_of_one_subject_has_no_negatives_and_is_refused(store, settings):
    given = settings(objective="coles", batch_size=1)
    with pytest.raises(SettingsError, match=r"no other subject in a batch.*at least 2"):
        fit(given, store, ignore)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("coles", {}),
        ("coles", {"max_elements_per_batch": 60}),
        ("joint+forecast+coles", {"num_workers": 1}),
    ],
)
def test_a_contrastive_run_that_is_stopped_ends_with_the_bits_of_one_that_was_not(
    store, settings, tmp_path, monkeypatch, objective, more
):
    monkeypatch.setattr("setvae_cli.training.pulse.SECONDS", 0.0)
    options = {"objective": objective, "max_epochs": 4, "truncate": "random", **COLES, **more}
    whole = settings(**options, output_dir=str(tmp_path / "whole"))
    fit(whole, store, ignore)
    parts = settings(**options, output_dir=str(tmp_path / "parts"))
    with pytest.raises(Terminated):
        fit(parts, store, stop_at(4))
    go_on(first_run(parts).path, store)
    assert_same_end(first_run(whole), first_run(parts))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["coles", "joint+coles"])
def test_two_processes_train_contrastively_and_measure_all_slices(store, tmp_path, objective):
    words = ("--objective", objective, "--batch-size", "4", "--coles-slices", "3")
    ended = train(store, *words, *TWO, folder=tmp_path)
    assert (ended.code, ended.left) == (0, ()), ended
    assert "2 processes (ddp)" in ended.error
    if objective == "coles":
        assert re.search(r"test recall_1 +[01]\.\d{3}", ended.output), ended
