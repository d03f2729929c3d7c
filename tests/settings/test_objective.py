"""What can be summed into an objective, and the defaults that an objective brings."""

import pytest

from setvae_cli.errors import SettingsError
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.settings.merge import merge
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.settings.presets import COLES, FORECAST, objective_defaults


def merged(**options: str) -> TrainSettings:
    return merge(TrainSettings, options=options, environment={}, config=None).settings


def test_joint_holds_elbo_and_is_the_default() -> None:
    default = ObjectiveSettings()
    assert default.parts == {"joint"}
    assert default.has("elbo")
    assert default.has("joint")
    assert default.reads_labels
    assert not ObjectiveSettings(pred_weight=0).reads_labels


@pytest.mark.parametrize("objective", ["elbo", "forecast", "elbo+forecast", "coles"])
def test_only_joint_reads_labels(objective: str) -> None:
    assert not ObjectiveSettings(objective=objective).reads_labels
    assert ObjectiveSettings(objective=objective).has("elbo") == ("elbo" in objective)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "elbo+future"}, "has 'future'; its parts are elbo, joint, forecast, coles"),
        ({"objective": "forecast+"}, "an empty part"),
        ({"objective": "forecast+forecast"}, "names forecast twice"),
        ({"objective": "elbo+joint"}, "names elbo beside joint, which holds it"),
        (
            {"objective": "forecast", "forecast_weight": "0", "masked_weight": "0"},
            "nothing to train",
        ),
        ({"max_beta": "0", "recon_weight": "0", "pred_weight": "0"}, "nothing to train"),
        ({"objective": "forecast", "forecast_cut": "0.5,0.2"}, "the smaller first"),
        ({"objective": "forecast", "forecast_cut": "0,0.2"}, "above 0"),
    ],
)
def test_a_sum_that_means_nothing_is_refused_in_one_sentence(
    options: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as told:
        merged(**options)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("command", "option", "name", "known"),
    [
        (FinetuneSettings, "optimizer", "sgd", "adam, adamw"),
        (FinetuneSettings, "scheduler", "step", "cosine, plateau, none"),
        (TrainSettings, "scheduler", "step", "cosine, constant"),
        (FinetuneSettings, "monitor", "val_f2", "val_auc, val_acc, val_loss"),
        (FinetuneSettings, "activation", "softsign", "relu, gelu, silu, tanh"),
        (FinetuneSettings, "unfreeze", "slowly", "at-once, stages"),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_there_are(
    command: type[TrainSettings], option: str, name: str, known: str
) -> None:
    with pytest.raises(SettingsError) as told:
        merge(command, options={option: name}, environment={}, config=None)
    assert str(told.value) == f"--{option}: must be one of {known}, got {name}"


def test_a_forecast_without_labels_brings_defaults_that_anything_given_wins_over() -> None:
    flat = merged(objective="Forecast").to_flat()
    assert {name: flat[name] for name in FORECAST} == FORECAST
    assert merged(objective="forecast", lr="0.1").optimizer.lr == 0.1
    assert merged(objective="forecast", preset="original").optimizer.lr == 1e-4
    assert merged(objective="elbo+forecast").objective.max_beta == 0.025
    assert merged(objective="joint+forecast").to_flat() == {
        **TrainSettings().to_flat(),
        "objective": "joint+forecast",
    }
    assert merged().to_flat() == TrainSettings().to_flat()


def test_a_contrastive_loss_without_labels_brings_batches_that_hold_negatives() -> None:
    for objective in ("coles", "elbo+coles", "forecast+coles"):
        flat = merged(objective=objective).to_flat()
        assert {name: flat[name] for name in COLES} == COLES
    assert merged(objective="coles", batch_size="16").loader.batch_size == 16
    assert "batch_size" not in objective_defaults("joint+coles")
    assert objective_defaults("forecast+coles") == objective_defaults("forecast")


def test_batches_that_elements_fill_have_no_size_by_objective() -> None:
    settings = merged(objective="forecast", max_elements_per_batch="5000")
    assert settings.loader.batch_size == TrainSettings().loader.batch_size
