"""Splits without labels: what was not counted is not 0, and chooses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from setvae_cli.errors import InputError, RunError
from setvae_cli.losses.objective import LossTerms, Weights
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.fit import fit
from setvae_cli.training.records import Validated
from setvae_cli.training.window import Window
from tests.training.resuming import first_run, go_on, ignore, log_of
from tests.training.stores import write_store
from tests.training.tuned import checkpoint_of, settings_in

ONLY_PREDICTION = {"recon_weight": 0.0, "max_beta": 0.0}


def without_labels(folder: Path, *splits: str) -> Store:
    """A store whose subjects of these splits have no label."""
    return write_store(folder, lambda split, n: "" if split in splits else str(n % 2))


def test_validation_without_a_label_cannot_choose_a_fine_tuned_checkpoint(tmp_path):
    store = without_labels(tmp_path, "validation")
    settings = settings_in(tmp_path / "tuned", checkpoint_of(store, tmp_path / "trained"))
    with pytest.raises(InputError, match="none of 10 validation subjects has the label death"):
        fit(settings, store, ignore)
    assert not (tmp_path / "tuned").exists()


def test_a_validation_that_is_cut_short_needs_a_label_in_what_is_left(tmp_path):
    def labels(split: str, number: int) -> str:
        return str(number % 2) if split != "validation" or number == 0 else ""

    store, some = write_store(tmp_path, labels), {"limit_val_batches": 0.1, "seed": 1}
    settings = settings_in(tmp_path / "tuned", checkpoint_of(store, tmp_path / "trained"), **some)
    with pytest.raises(InputError, match="none of 1 validation subjects"):
        fit(settings, store, ignore)


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (("validation",), "none of 10 validation subjects has the label death"),
        (("train", "validation", "test"), "no training subject has a label, and prediction is all"),
    ],
)
def test_training_that_only_predicts_is_refused_without_labels(tmp_path, settings, splits, said):
    store = without_labels(tmp_path, *splits)
    with pytest.raises(InputError, match=said):
        fit(settings(**ONLY_PREDICTION), store, ignore)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_the_elbo_decides_where_validation_has_no_label(tmp_path, settings):
    records: list[object] = []
    result = fit(settings(max_steps=1), without_labels(tmp_path, "validation"), records.append)
    assert result.chosen_by == "val_loss"
    (said,) = [one.scalars for one in records if isinstance(one, Validated)]
    assert "val_pred" not in said
    assert said["val_loss"] > 0.1 * said["val_recon"]


@pytest.mark.slow
def test_a_loss_of_which_nothing_was_counted_is_absent_on_test_and_the_run_is_complete(tmp_path):
    store = without_labels(tmp_path, "test")
    checkpoint = checkpoint_of(store, tmp_path / "trained")
    settings = settings_in(tmp_path / "tuned", checkpoint, max_steps=1)
    fit(settings, store, ignore)
    folder = first_run(settings)
    assert {tag for one in log_of(folder) for tag in one if "test" in tag} == {"test_labelled"}
    assert go_on(folder.path, store) is None


def test_a_window_of_prediction_without_a_label_has_no_loss():
    nothing = torch.zeros(())
    terms = LossTerms(nothing, nothing[None], nothing[None], nothing[None], nothing, 4, 8, 16)
    for only_predicts in (True, False):
        window = Window(elbo=False, only_predicts=only_predicts)
        window.add(nothing, terms, Weights(0.0, 0.0, 1.0), nothing)
        window.end_step(None)
        means = window.take()
        assert means["elements"] == 16
        assert ("loss" in means) is not only_predicts


def test_what_is_in_the_loss_beside_prediction_is_known():
    assert not ObjectiveSettings().only_predicts
    assert ObjectiveSettings(**ONLY_PREDICTION).only_predicts
    assert not ObjectiveSettings(**ONLY_PREDICTION, objective="joint+forecast").only_predicts
    assert not ObjectiveSettings(**ONLY_PREDICTION, mean_regularizer=0.1).only_predicts
    assert not ObjectiveSettings(objective="elbo", pred_weight=0.0).only_predicts


@pytest.mark.slow
def test_validation_with_nothing_to_guess_chooses_nothing(store, settings):
    hidden = {"objective": "forecast", "forecast_weight": 0.0, "input_dropout": 0.0}
    with pytest.raises(RunError, match="validation holds nothing that the loss is a sum of"):
        fit(settings(**hidden, max_steps=1), store, ignore)
