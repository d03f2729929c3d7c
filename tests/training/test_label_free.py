"""Runs that read no labels: what they log, what chooses, and that labels change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from setvae_cli.cli.train import closing_table
from setvae_cli.data.dataset import SetDataset
from setvae_cli.data.sampler import BatchRequest
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.model import load_model
from setvae_cli.store.reader import Store
from setvae_cli.training.fit import fit
from setvae_cli.training.records import RunStarted
from setvae_cli.training.resumption import prepare
from setvae_cli.training.tasks import cuts_of
from tests.training.resuming import final_of, first_run, ignore, log_of

SHORT = {"max_epochs": 1, "batch_size": 8, "gradient_accumulation_steps": 1, "input_dropout": 0.3}


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """A forecast of one epoch: its run, what it told, its result."""
    from setvae_cli.settings.command import TrainSettings

    told: list[object] = []
    small = {"dim": 8, "heads": 2, "latent_dim": 4, "ff_dim": 8, "variable_dim": 4}
    folder = str(tmp_path_factory.mktemp("runs"))
    settings = TrainSettings.from_flat(
        {**small, **SHORT, "objective": "forecast", "output_dir": folder}
    )
    result = fit(settings, store, told.append)
    return first_run(settings), told, result


def test_a_forecast_logs_its_terms_and_nothing_of_an_elbo(trained) -> None:
    folder, told, _ = trained
    tags = {tag for record in log_of(folder) for tag in record}
    for tag in ("forecast", "forecast_presence", "forecast_values", "masked", "loss"):
        assert {f"train_{tag}_epoch", f"val_{tag}", f"test_{tag}"} <= tags
    assert not [tag for tag in tags if "recon" in tag or "kl" in tag or "auc" in tag]
    started = next(record for record in told if isinstance(record, RunStarted))
    assert started.data.endswith("labels are not read")


def test_the_loss_chooses_and_the_closing_table_says_that_no_label_was_read(trained) -> None:
    folder, _, result = trained
    assert result.chosen_by == "val_loss"
    assert folder.best()[0].measure == "loss"
    assert not result.metrics
    lines = closing_table(result)
    assert lines[0] == "Result"
    assert lines[1].startswith("test loss      ")
    assert lines[2].endswith("nats a subject")
    assert lines[3].endswith("nats a hidden value")
    assert lines[4] == "no label was read"


def test_the_validation_loss_is_the_weighted_sum_of_what_is_logged(store, trained) -> None:
    folder, _, _ = trained
    header = read(folder.best()[0].path).header
    said = header.measured
    loaded = load_model(folder.best()[0].path)
    rows = store.split("validation")
    cuts = cuts_of(loaded.settings.objective, store, header.time_scale)
    train = SetDataset(store, loaded.vocabulary, rows, cuts=cuts, seed=0, hide_rate=0.3)
    views = SetDataset(store, loaded.vocabulary, rows, seed=0).fixed_views(train)
    places = np.arange(len(rows))
    batch = views.batch(BatchRequest(places, 0, 0, places, len(rows), ()))
    followed, hidden = int(batch.targets.forecast.sum()), len(batch.targets.hidden_value)
    summed = followed * said["val_forecast"] + 0.2 * hidden * said["val_masked"]
    expected = summed / (len(rows) * header.sets_per_subject)
    assert said["val_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "objective", ["forecast", pytest.param("elbo+forecast", marks=pytest.mark.slow)]
)
def test_labels_change_no_weight_of_a_run_that_reads_none(store, settings, objective) -> None:
    other = Store.open(store.path)
    other.labels = 1 - store.labels
    ends = []
    for name, data in (("one", store), ("two", other)):
        options = {**SHORT, "max_steps": 2, "objective": objective, "name": name}
        run = settings(**options)
        fit(run, data, ignore)
        ends.append(final_of(RunFolder(run.run.output_dir / name / "version_0"))["state_dict"])
    for name, weight in ends[0].items():
        assert torch.equal(weight, ends[1][name]), name


@pytest.mark.slow
def test_an_elbo_beside_a_forecast_is_watched_and_logged(store, settings) -> None:
    run = settings(**SHORT, max_steps=2, objective="elbo+forecast")
    result = fit(run, store, ignore)
    tags = {tag for record in log_of(first_run(run)) for tag in record}
    assert {"val_recon", "val_kl", "val_forecast", "val_masked"} <= tags
    assert len(result.posterior) == 1
    assert set(result.losses) == {"loss", "forecast", "masked", "recon", "kl"}


@pytest.mark.slow
def test_labels_beside_a_forecast_are_those_of_whole_subjects(store, settings) -> None:
    run = settings(**SHORT, max_steps=3, objective="joint+forecast", forecast_cut_share=0.5)
    result = fit(run, store, ignore)
    assert {metric.name for metric in result.metrics} >= {"auroc"}
    tags = {tag for record in log_of(first_run(run)) for tag in record}
    assert {"val_auc", "val_forecast", "train_pred_epoch"} <= tags


def test_the_objective_of_a_run_is_fixed(trained) -> None:
    folder, _, _ = trained
    with pytest.raises(SettingsError, match="--objective: is joint, and the run was trained with"):
        prepare(folder.path, {"objective": "joint"})
    changes = prepare(folder.path, {"forecast_horizon": 0.25}).changes
    assert "forecast_horizon changes which events are seen" in changes.inexact


def test_a_forecast_of_places_is_refused(store, settings, monkeypatch) -> None:
    shard = store.shard(0)
    places = type(shard)(
        shard.row_offsets,
        shard.set_offsets,
        np.repeat(shard.positions, 3, axis=1),
        shard.keys,
        shard.values,
    )
    monkeypatch.setattr(store, "shard", lambda number: places)
    with pytest.raises(InputError, match="positions of this store have 3 numbers"):
        cuts_of(settings(objective="forecast").objective, store, 100.0)
