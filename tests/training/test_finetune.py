"""Fine-tuning is a run like others: it stops, goes on, is measured, and opens again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import setvae_cli
from setvae_cli.errors import InputError, RunError, SettingsError, Terminated
from setvae_cli.evaluation.sweep import Swept
from setvae_cli.losses.objective import cross_entropies
from setvae_cli.runs.checkpoint import STATE, read
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.model import load_model
from setvae_cli.settings.finetune import TuningSettings
from setvae_cli.training.class_weights import class_weights
from setvae_cli.training.diagnosis import Facts, diagnose, guessing_loss
from setvae_cli.training.fit import fit
from setvae_cli.training.measured import Measured
from setvae_cli.training.plateau import Plateau
from setvae_cli.training.resumption import prepare
from setvae_cli.training.selection import Selection
from setvae_cli.training.thresholded import f1, right, thresholded
from tests.models import make_batch
from tests.training.resuming import assert_same_end, first_run, go_on, ignore, log_of, stop_at
from tests.training.teams import TWO, run_setvae
from tests.training.tuned import WithNorm, checkpoint_of, settings_in


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr("setvae_cli.training.pulse.SECONDS", 0.0)


@pytest.fixture
def checkpoint(store, tmp_path):
    return checkpoint_of(store, tmp_path / "trained")


STAGES = {"freeze": "until:1,2", "unfreeze": "stages"}
CASES = {
    "stages": STAGES,
    "plateau": {"scheduler": "plateau", "plateau_patience": 1, "val_check_interval": 0.5},
    "with the elbo": {"max_beta": 0.1, "recon_weight": 0.1, "class_weights": "balanced"},
}


@pytest.mark.parametrize(
    "case", ["stages", *(pytest.param(c, marks=pytest.mark.slow) for c in list(CASES)[1:])]
)
def test_a_run_that_is_stopped_ends_with_the_bits_of_one_that_was_not(
    store, checkpoint, tmp_path, case
):
    options = {"max_epochs": 3, "lr": 1e-2, **CASES[case]}
    whole = settings_in(tmp_path / "whole", checkpoint, **options)
    fit(whole, store, ignore)
    parts = settings_in(tmp_path / "parts", checkpoint, **options)
    with pytest.raises(Terminated):
        fit(parts, store, stop_at(8))
    folder = first_run(parts)
    go_on(folder.path, store)
    assert_same_end(first_run(whole), folder)
    state = [read(first_run(s).last).payload[STATE]["tuning"] for s in (whole, parts)]
    assert state[0]["plateau"] == state[1]["plateau"]
    assert state[0]["losses"] == state[1]["losses"]


def test_a_tuned_model_opens_again_and_says_what_it_was_tuned_on(store, checkpoint, tmp_path):
    settings = settings_in(tmp_path / "tuned", checkpoint, max_epochs=1)
    result = fit(settings, store, ignore)
    loaded = load_model(first_run(settings).best()[0].path)
    assert loaded.header.command == "finetune"
    assert loaded.vae.head.classify is not None
    assert "ckpt" not in loaded.header.settings
    tags = log_of(first_run(settings))
    assert {"train_acc_epoch", "val_acc", "val_f1", "val_auc", "val_auprc"} <= set().union(*tags)
    assert result.posterior == ()


def test_a_named_encoder_without_weights_begins_as_its_seed_says(store, tmp_path):
    def tuned(name: str, seed: int) -> dict[str, torch.Tensor]:
        named = {"encoder": "tests.training.tuned:WithNorm", "batch_size": 7, "seed": seed}
        settings = settings_in(tmp_path / name, None, **named, max_epochs=1)
        fit(settings, store, ignore)
        return read(first_run(settings).best()[0].path).weights()

    one, again, other = tuned("one", 3), tuned("again", 3), tuned("other", 4)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["encoder.map.weight"], other["encoder.map.weight"])


def test_a_module_of_others_is_tuned_from_python_and_needed_again(store, tmp_path):
    encoder = WithNorm()
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    options = {"max_epochs": 1, "lr": 1e-2, "encoder_lr_ratio": 1.0}
    with pytest.raises(RunError, match="the encoder WithNorm: raised ValueError on a batch of 1"):
        setvae_cli.finetune(encoder, store, settings_in(tmp_path / "one", None, **options))
    settings = settings_in(tmp_path / "seven", None, **options, batch_size=7)  # 21 subjects
    result = setvae_cli.finetune(encoder, store, settings)
    assert all(torch.equal(before[n], w) for n, w in encoder.state_dict().items())
    best = first_run(settings).best()[0].path
    assert str(best) == result.best
    with pytest.raises(InputError, match="needs the encoder WithNorm, code of another package"):
        load_model(best)
    loaded = load_model(best, WithNorm())
    assert not torch.equal(loaded.model.encoder.map.weight, before["map.weight"])
    with pytest.raises(InputError, match="which has no latents"):
        _ = loaded.vae
    with pytest.raises(InputError, match="name it again with --encoder"):
        prepare(first_run(settings).path, {})


@pytest.mark.slow
def test_two_processes_stay_equal_while_parts_begin_to_learn(store, tmp_path):
    checkpoint = checkpoint_of(store, tmp_path / "trained", dropout=0.0)
    words = ["--freeze", "until:1,2", "--unfreeze", "stages", "--batch-size", "8"]
    words += ["--max-epochs", "3", "--lr", "0.01", "--head-hidden-dims", "6", "--device", "cpu"]
    exact = ["--precision", "64", "--dropout", "0", "--joined-dropout", "0", "--patience", "0"]
    ended = {}
    for name, more in {"one": (), "two": (*TWO, "--batch-size", "4")}.items():
        (tmp_path / name).mkdir()
        given = ["finetune", str(checkpoint), *words, *exact, *more]
        ended[name] = run_setvae(*given, folder=tmp_path / name)
        assert ended[name].code == 0, ended[name]
    states = [
        read(tmp_path / name / "outputs/finetune/version_0/checkpoints/last.ckpt").payload
        for name in ended
    ]
    for name, weight in states[0]["state_dict"].items():
        torch.testing.assert_close(states[1]["state_dict"][name], weight, rtol=1e-6, atol=1e-9)


def test_the_measure_that_chooses_ranks_checkpoints_by_their_names(tmp_path):
    def rank(name):
        return RunFolder.as_best(tmp_path / f"best_epoch=1_step=2_{name}_bs=4.ckpt").rank

    assert rank("acc=0.9000") < rank("acc=0.8000") < rank("loss=0.1000") < rank("loss=0.2000")
    selection = Selection(0)
    assert selection.observe("acc", 0.5)
    assert selection.observe("acc", 0.6)
    assert not selection.observe("acc", 0.4)


def test_balanced_weights_are_subjects_over_classes_times_those_of_the_class():
    labels = np.array([[0, 2], [0, 1], [0, 0], [1, 0], [-1, 2]])
    given = {"tasks": ("death", "ward"), "classes": (2, 3)}
    found = class_weights(TuningSettings(class_weights="balanced"), labels, **given)
    assert found[0] == pytest.approx((4 / (2 * 3), 4 / (2 * 1)))
    assert found[1] == pytest.approx((5 / (3 * 2), 5 / (3 * 1), 5 / (3 * 2)))
    assert class_weights(TuningSettings(), labels, **given) == ()
    with pytest.raises(SettingsError, match="numbers are for one label"):
        class_weights(TuningSettings(class_weights="1,2"), labels, **given)
    with pytest.raises(SettingsError, match="gives 3 weights, and death has 2 classes"):
        class_weights(TuningSettings(class_weights="1,2,3"), labels, tasks=("death",), classes=(2,))
    with pytest.raises(SettingsError, match="class 1 of death has no training subject"):
        one_class = np.zeros((3, 1), dtype=np.int64)
        class_weights(
            TuningSettings(class_weights="balanced"), one_class, tasks=("death",), classes=(2,)
        )


def test_a_subject_counts_as_much_as_its_class_and_one_without_a_label_not_at_all():
    batch, weights = make_batch([[1]] * 6), ((0.5, 3.0), (1.0, 2.0, 4.0))
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    each = torch.nn.functional
    binary = each.binary_cross_entropy_with_logits(
        logits[:, 0], batch.labels[:, 0].double(), reduction="none"
    )
    first = (binary * torch.tensor(weights[0])[batch.labels[:, 0]]).sum()
    real = batch.label_mask[:, 1]
    second = each.cross_entropy(
        logits[real, 1:],
        batch.labels[real, 1],
        weight=torch.tensor(weights[1], dtype=torch.float64),
        reduction="sum",
    )
    found = cross_entropies(logits, batch, (2, 3), 0.0, weights)
    torch.testing.assert_close(found, torch.stack([first, second]), rtol=1e-10, atol=0)


def test_missing_labels_take_no_part_in_accuracy_and_f1():
    batch = make_batch([[1]] * 4)
    logits = torch.tensor([[1.0, 0, 0, 9], [1, 9, 0, 0], [1, 0, 0, 9], [1, 9, 0, 0]])
    counts = right(logits, batch.labels, batch.label_mask, (2, 3))
    said = [[1, 2], [1, 0], [1, 2], [1, 0]]
    expected = sum(
        int(said[i][j] == batch.labels[i, j]) for i in range(4) for j in range(2)
        if batch.label_mask[i, j]
    )  # fmt: skip
    assert counts.tolist() == [expected, batch.label_mask.sum()]
    swept = Swept(np.arange(3), np.zeros((3, 1)), np.zeros((3, 1), int), np.zeros((3, 1), bool), {})
    scalars, absent = thresholded(swept, ("death",), (2,))
    assert scalars == {}
    assert absent == dict.fromkeys(("val_acc", "val_f1"), "no labelled subjects")


def test_measures_of_several_labels_have_a_mean_over_those_that_have_them():
    logits = np.array([[1.0, 1.0, -1.0], [-1.0, -1.0, -1.0], [2.0, -1.0, 1.0], [-2.0, -1.0, 1.0]])
    labels = np.array([[1, 1, 0], [0, 1, 0], [1, 0, -1], [1, 1, 1]])
    tasks, classes = ("death", "sepsis", "shock"), (2, 2, 2)
    swept = Swept(np.arange(4), logits, labels, labels >= 0, {"loss": 1.0})
    said = {**Measured.of(swept, tasks, classes).scalars, **thresholded(swept, tasks, classes)[0]}
    for tag in ("val_auc", "val_auprc", "val_acc", "val_f1"):
        assert len({said[f"{tag}_{task}"] for task in tasks}) > 1
        assert said[tag] == pytest.approx(np.mean([said[f"{tag}_{task}"] for task in tasks]))
    none = Swept(np.arange(4), logits, labels, np.array([[True, False, False]] * 4), {"loss": 1.0})
    found, absent = thresholded(none, tasks, classes)
    assert found["val_f1"] == found["val_f1_death"]
    assert found["val_acc"] == found["val_acc_death"]
    assert absent["val_f1_shock"] == "no labelled subjects"


def test_f1_is_that_of_the_positive_class_and_absent_without_one():
    said, truth = np.array([1, 1, 1, 0, 0]), np.array([1, 0, 1, 1, 0])
    assert f1(said, truth, 2)[0] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert f1(said, np.zeros(5, int), 2) == (None, "class 1 is not present")
    assert f1(said, np.ones(5, int), 2) == (None, "only class 1 is present")
    three = np.array([0, 1, 2, 2, 1])
    assert f1(three, three, 3)[0] == 1.0
    assert f1(three, np.minimum(three, 1), 3) == (None, "class 2 is not present")


def test_the_rate_falls_where_validations_get_no_better_and_a_resume_knows():
    plateau = Plateau(2, 0.5)
    factors = []
    for value in (0.5, 0.6, 0.6, 0.59, 0.7, 0.7, 0.7, 0.7):
        plateau.observe(value, higher_is_better=True)
        factors.append(plateau.factor)
        again = Plateau(2, 0.5)
        again.load(plateau.state())
        assert again == plateau
    assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    falling = Plateau(1, 0.1)
    for value in (2.0, 1.0, 0.5):
        falling.observe(value, higher_is_better=False)
    assert falling.factor == 1.0


FACTS = Facts(
    losses=(0.6, 0.5, 0.5),
    guessing=0.5,
    norms=(1.0, 1.0, 1.0),
    clip=1.0,
    rate=1e-2,
    ratio=1.0,
    resting=0.0,
    labels={"death": [900, 100]},
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"losses": (0.9, 0.7, 0.6)}, "was still falling after 3 epochs; raise --max-epochs"),
        ({"labels": {"death": [900, 4]}}, "a class of death has 4 training subjects"),
        ({"labels": {"death": [900, 1]}}, "a class of death has 1 training subject, which"),
        ({"losses": (0.5, 0.9, 1.2)}, "likely too high; lower --lr"),
        ({"losses": (0.6, 0.5, 0.498)}, "ended hardly better than guessing classes (epoch 1"),
        ({"losses": (0.3, 0.31, 0.32)}, "ended with a higher loss than it began (epoch 1"),
        ({"losses": (0.5, 0.9, 1.2), "rate": 1e-4, "ratio": 0.1}, "learning rates are low"),
        ({"resting": 0.97}, "97 % of the encoder rested to the end"),
        ({"resting": 1.0, "rate": 1e-4}, "the encoder rested in every step; let it learn"),
        (
            {"losses": (0.9, 0.7, 0.6), "resting": 1.0},
            "still falling after 3 epochs, and the encoder rested in all of them; let it learn",
        ),
        ({"norms": (1e-6,) * 3}, "gradients are nearly nothing"),
        ({"norms": (300.0,) * 3}, "were clipped to 1"),
        ({"rate": 1e-4, "ratio": 0.1}, "learning rates are low (head 0.0001, encoder 1e-05)"),
        ({}, "the embedding may not know this label; try more epochs"),
        ({"resting": 0.4}, "may not know this label; try --freeze none, or more epochs"),
    ],
)
def test_a_loss_that_does_not_fall_is_diagnosed(changes, said):
    assert said in diagnose(Facts(**{**FACTS.__dict__, **changes}))


def test_a_loss_that_falls_is_not_talked_about():
    assert diagnose(Facts(**{**FACTS.__dict__, "losses": (0.6, 0.4, 0.3)})) is None
    assert diagnose(Facts(**{**FACTS.__dict__, "losses": ()})) is None


def test_guessing_is_the_least_loss_of_a_constant_prediction():
    counts, weights, smoothing = [30, 10], (0.5, 2.0), 0.1
    share = np.linspace(0.001, 0.999, 9999)
    soft = [smoothing / 2 + (1 - smoothing) * one for one in (0, 1)]
    each = [-(t * np.log(share) + (1 - t) * np.log(1 - share)) for t in soft]
    least = min((30 * 0.5 * each[0] + 10 * 2.0 * each[1]) / 40)
    assert guessing_loss([counts], (weights,), smoothing) == pytest.approx(least, rel=1e-5)
