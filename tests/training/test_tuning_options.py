"""What options of fine-tuning change: one visible effect each."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from setvae_cli.losses.objective import cross_entropies, loss_terms
from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.model import build_classifier
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.settings.finetune import TunedOptimizerSettings
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.training.fit import fit
from setvae_cli.training.optimizer import build_optimizer, set_rate
from setvae_cli.training.part import Part
from setvae_cli.training.prepared import prepare_run
from setvae_cli.training.team import Team
from setvae_cli.training.tuning import Tuning
from tests.models import make_batch, make_model
from tests.training.resuming import final_of, first_run, ignore, log_of
from tests.training.stores import write_store
from tests.training.tuned import WithNorm, settings_in

ONE_STEP_AN_EPOCH = {"batch_size": 21}
RATE, CLIP = 1e-6, 1e-3


def encoder() -> WithNorm:
    torch.manual_seed(0)
    return WithNorm()


@pytest.fixture(scope="module")
def still(store, tmp_path_factory):
    """A run that learns next to nothing in three epochs, and what it said."""
    options = {
        "max_epochs": 3,
        "lr": RATE,
        "lr_warmup": 0,
        "encoder_lr_ratio": 0.25,
        "monitor": "val_acc",
        "save_top_k": 1,
        "scheduler": "plateau",
        "plateau_patience": 1,
        "plateau_factor": 0.5,
        "patience": 0,
        "label_smoothing": 0.9,  # with which no loss is much below that of guessing
    }
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    folder = tmp_path_factory.mktemp("still")
    settings = settings_in(folder, None, **ONE_STEP_AN_EPOCH, **options)
    logging.getLogger("setvae_cli").addHandler(handler)
    fit(settings, store, ignore, encoder=encoder())
    logging.getLogger("setvae_cli").removeHandler(handler)
    return first_run(settings), said


@pytest.fixture(scope="module")
def weighted(store, tmp_path_factory):
    """One step with weights of classes and a small norm."""
    options = {"max_epochs": 1, "class_weights": "1,5", "gradient_clip_val": CLIP}
    folder = tmp_path_factory.mktemp("weighted")
    settings = settings_in(folder, None, **ONE_STEP_AN_EPOCH, **options)
    fit(settings, store, ignore, encoder=encoder())
    return first_run(settings)


def groups_of(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = payload["optimizer_states"][0]["param_groups"]
    return groups


def logged(folder, tag: str) -> list[float]:
    return [record[tag] for record in log_of(folder) if tag in record]


def test_the_measure_that_is_asked_for_chooses_the_checkpoints(still):
    assert {one.measure for one in still[0].best()} == {"acc"}
    for measure in ("auc", "acc", "loss"):
        settings = FinetuneSettings.from_flat({"monitor": f"val_{measure}"})
        assert settings.chosen_by == measure


def test_as_many_of_the_best_checkpoints_stay_as_asked_for(still):
    assert len(logged(still[0], "val_acc")) == 3
    assert len(still[0].best()) == 1


def test_the_encoder_learns_at_its_share_of_the_rate(still):
    rates = {group["share"]: group["lr"] for group in groups_of(final_of(still[0]))}
    assert set(rates) == {1.0, 0.25}
    assert rates[0.25] == pytest.approx(0.25 * rates[1.0])


def test_a_plateau_lowers_the_rate_of_the_steps_behind_it(still):
    head = next(one for one in groups_of(final_of(still[0])) if one["share"] == 1)
    assert head["lr"] == pytest.approx(0.5 * RATE)  # two validations came before the last step


def test_a_run_whose_loss_does_not_fall_says_so(still):
    (line,) = [line for line in still[1] if "training ended no better than guessing" in line]
    assert "a class of death has 10 training subjects, which is few" in line


def test_weights_of_classes_reach_the_loss_of_training(weighted):
    (loss,) = logged(weighted, "train_pred_epoch")
    even = (11 + 5 * 10) / 21 * math.log(2)  # of a head that does not know yet
    assert loss == pytest.approx(even, rel=0.3)


def test_gradients_are_clipped_to_the_norm_that_is_asked_for(weighted):
    (before,) = logged(weighted, "train_grad_norm_epoch")
    moments = final_of(weighted)["optimizer_states"][0]["state"].values()
    norm = math.sqrt(sum(float(one["exp_avg"].square().sum()) for one in moments))
    assert before > 10 * CLIP
    assert norm == pytest.approx((1 - 0.9) * CLIP, rel=1e-3)  # Adam's first mean of gradients


def test_balanced_weights_count_the_labels_of_training_alone(tmp_path):
    def labels(split: str, number: int) -> str:
        return str(int(number % 3 == 0)) if split == "train" else str(int(number > 0))

    settings = settings_in(tmp_path, None, class_weights="balanced")
    run = prepare_run(settings, write_store(tmp_path, labels), None, Team(Part()), WithNorm())
    assert run.header.class_weights == (pytest.approx((21 / (2 * 14), 21 / (2 * 7))),)


def test_adam_adds_decay_to_the_gradient_and_adamw_to_the_step():
    moved = {}
    for name in ("adam", "adamw"):
        model = nn.Linear(1, 1, bias=False).double()
        nn.init.constant_(model.weight, 8.0)
        model.weight.grad = torch.zeros_like(model.weight)
        settings = TunedOptimizerSettings(optimizer=name, lr=0.1, weight_decay=0.5, lr_warmup=0)
        optimizer = build_optimizer(model, settings, fused=False, slow=([], 1.0))
        set_rate(optimizer, settings, step=0, planned=1)
        optimizer.step()
        moved[name] = 8 - model.weight.item()
    assert moved["adam"] == pytest.approx(0.1)  # the rate in the direction of the decay
    assert moved["adamw"] == pytest.approx(0.1 * 0.5 * 8)


@pytest.mark.parametrize("parts", [{}, {"recon_weight": 0.0, "max_beta": 0.0}])
def test_labels_are_smoothed_in_training_and_not_in_validation(parts):
    model, batch = make_model("base"), make_batch([[1], [2], [1, 1], [3]])
    settings = ObjectiveSettings(**parts, label_smoothing=0.2)
    for smoothing in (0.2, 0.0):
        output = model.train(smoothing > 0)(batch, noise_seed=None)
        found = loss_terms(model, output, batch, settings, classes=(2, 3)).pred
        expected = cross_entropies(output.logits, batch, (2, 3), smoothing)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_accuracy_of_training_is_the_share_of_labels_that_were_right(still):
    header = read(still[0].last).header.model_copy(update={"tasks": ("a", "b"), "classes": (2, 3)})
    model = build_classifier(FinetuneSettings(), WithNorm(), header.classes, "own")
    tuning, batch = Tuning(model, FinetuneSettings(), header), make_batch([[1]] * 4)
    assert batch.labels.tolist() == [[0, -1], [1, 1], [0, 2], [1, 0]]
    logits = torch.tensor([[-1.0, 0, 9, 0], [1, 0, 9, 0], [1, 0, 9, 0], [1, 0, 9, 0]])
    tuning.see(logits, batch)
    tuning.end_step(good=True)
    assert tuning.take("step") == {"train_acc_step": pytest.approx(4 / 7)}
    assert tuning.take("epoch") == {"train_acc_epoch": pytest.approx(4 / 7)}
