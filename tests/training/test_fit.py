"""A run from a store to a measured checkpoint, and what may not change it."""

import functools
import json
import logging
import math
import re
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import psutil
import pytest
import pytorch_lightning as pl
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from setvae_cli.data.datamodule import SetDataModule
from setvae_cli.errors import InputError, NumericalError, SettingsError
from setvae_cli.evaluation.sweep import sweep
from setvae_cli.losses.objective import weights_at
from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.metrics_log import read as read_log
from setvae_cli.runs.model import load_model
from setvae_cli.settings.command import TrainSettings
from setvae_cli.training.fit import fit
from setvae_cli.training.records import RunStarted, Stopped, Validated
from tests.training.stores import CODES, FIRST_ID, SIZES, write_store


def run(settings, store):
    """The result, the records that were sent, and the run's folder."""
    records = []
    result = fit(settings, store, records.append)
    return result, records, RunFolder(settings.run.output_dir / settings.run.name / "version_0")


def final_weights(settings, store):
    _, _, folder = run(settings, store)
    (final,) = folder.checkpoints.glob("final_*")
    return read(final).payload["state_dict"]


def sweep_test(loaded, settings, store, vocabulary, model):
    """The test split of a store as a model sees it."""
    header = loaded.header
    data = SetDataModule(store, vocabulary, settings.loader, tasks=("death",), seed=0)
    return sweep(
        model,
        data.test_dataloader(),
        settings.objective,
        header.classes,
        weights=weights_at(12, 12, settings.objective, evaluating=True),
        sets_per_subject=header.sets_per_subject,
        autocast=nullcontext(),
    )


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    options = {"dim": 8, "heads": 2, "latent_dim": 4, "ff_dim": 8, "variable_dim": 4}
    settings = TrainSettings.from_flat(
        {
            **options,
            "embedding_dim": 4,
            "max_epochs": 4,
            "lr": 3e-2,
            "val_check_interval": 0.5,
            "patience": 0,
            "output_dir": str(tmp_path_factory.mktemp("run")),
        }
    )
    return settings, *run(settings, store)


def test_a_run_leaves_what_the_architecture_says(trained):
    _, result, _, folder = trained
    names = sorted(path.name for path in folder.checkpoints.iterdir())
    assert [name for name in names if not name.startswith("best_")] == [
        "final_step=12_bs=4.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]
    assert len([name for name in names if name.startswith("best_epoch=")]) == 2
    assert yaml.safe_load(folder.settings.read_text())["dim"] == 8
    manifest = json.loads(folder.manifest.read_text())
    assert manifest["seed"] == 0
    assert {"python", "torch", "numpy"} <= set(manifest["versions"])
    for path in folder.path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert result.run == str(folder.path)
    assert result.best == str(folder.best_or_last())
    assert (result.epochs, result.steps, result.stopped) == (4, 12, "4 epochs done")


def test_a_run_tells_its_listener_start_validations_and_end(trained):
    _, result, records, folder = trained
    assert isinstance(records[0], RunStarted)
    assert records[0].data == "table, 3 codes, 21/10/10 subjects, 48.8 % positive"
    assert isinstance(records[-1], Stopped)
    validated = [record for record in records if isinstance(record, Validated)]
    assert [record.step for record in validated] == list(range(1, 13))
    best = max(validated, key=lambda record: round(record.scalars["val_auc"], 4))
    assert folder.best()[0].step == best.step
    assert result.chosen_by == "val_auc"


def test_test_metrics_have_intervals_and_posteriors_have_a_floor(trained):
    _, result, _, _ = trained
    assert [metric.name for metric in result.metrics] == ["auroc", "auprc", "accuracy"]
    for metric in result.metrics:
        assert metric.low <= metric.value <= metric.high
        assert metric.subjects == SIZES["test"]
    (level,) = result.posterior
    assert (level.level, level.latent, level.floor) == (1, 4, 0.0)
    assert level.kl_nats >= 0


def test_both_logs_hold_the_tags_and_the_log_format_stands_first(trained):
    _, _, _, folder = trained
    contents = read_log(folder.metrics)
    assert contents.lost_bytes == 0
    assert contents.records[0]["setvae/log_format"] == 1
    written = {tag for record in contents.records for tag in record}
    terms = ("loss", "recon", "kl", "beta_kl", "pred", "beta", "recon_weight", "pred_weight")
    for term in terms:
        assert {f"train_{term}_step", f"train_{term}_epoch", f"val_{term}"} <= written
    assert {"val_auc", "val_auprc", "val_accuracy", "epoch", "hp_metric"} <= written
    tags = EventAccumulator(str(folder.logs)).Reload().Tags()["scalars"]
    assert tags[0] == "setvae/log_format"
    assert {"train_loss_step", "train_kl_epoch", "val_auc", "test_auc", "hp_metric"} <= set(tags)


def test_kl_is_logged_raw_and_its_weighted_form_carries_its_weight(trained):
    _, _, _, folder = trained
    for record in read_log(folder.metrics).records:
        if "val_kl" in record:
            expected = record["val_beta"] * record["val_kl"]
            assert record["val_beta_kl"] == pytest.approx(expected)


def test_no_file_of_a_run_holds_an_id_or_where_the_data_lie(trained, store):
    _, _, _, folder = trained
    canaries = [str(FIRST_ID + i).encode() for i in range(sum(SIZES.values()))]
    canaries += [str(store.path).encode(), b"events.csv"]
    for path in folder.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [canary for canary in canaries if canary in content], path
    checkpoint = read(folder.last)
    assert "output_dir" not in checkpoint.header.settings
    assert checkpoint.header.data_digest == store.digest


def test_evaluation_of_a_loaded_checkpoint_gives_the_same_bits(trained, store):
    settings, _, _, folder = trained
    loaded = load_model(folder.best_or_last())
    assert loaded.settings.model == settings.model
    assert loaded.vocabulary.digest() == store.vocabulary.digest()
    passes = [sweep_test(loaded, settings, store, loaded.vocabulary, loaded.model) for _ in "12"]
    assert np.array_equal(passes[0].logits, passes[1].logits)
    logged = [r for r in read_log(folder.metrics).records if "test_loss" in r]
    for name, value in passes[0].scalars.items():
        assert logged[0][f"test_{name}"] == value


def test_the_same_seed_gives_the_same_bits_and_validation_changes_none(store, settings, tmp_path):
    torch.manual_seed(1)
    first = final_weights(settings(output_dir=str(tmp_path / "a")), store)
    torch.manual_seed(2)
    second = final_weights(
        settings(output_dir=str(tmp_path / "b"), val_check_interval=0.3, limit_val_batches=0.5),
        store,
    )
    assert_same_bits(first, second)
    other = final_weights(settings(output_dir=str(tmp_path / "c"), seed=1), store)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_any_number_of_workers_gives_the_same_bits(store, settings, tmp_path):
    alone, shared = (
        final_weights(settings(num_workers=n, output_dir=str(tmp_path / str(n))), store)
        for n in (0, 2)
    )
    assert_same_bits(alone, shared)


def test_a_store_that_numbers_its_codes_otherwise_gives_the_same_outputs(trained, store, tmp_path):
    settings, _, _, folder = trained
    loaded = load_model(folder.best_or_last())
    foreign = write_store(tmp_path, codes=("z", "y", "x"))
    renamed = replace(loaded.vocabulary, codes=("z", "y", "x"))
    assert store.vocabulary.codes == CODES
    assert foreign.vocabulary.codes == ("x", "y", "z")
    own, other = (
        sweep_test(loaded, settings, events, vocabulary, loaded.model.double())
        for events, vocabulary in ((store, loaded.vocabulary), (foreign, renamed))
    )
    np.testing.assert_allclose(other.logits, own.logits, rtol=1e-8)
    assert other.scalars == pytest.approx(own.scalars, rel=1e-8)
    assert np.ptp(own.logits) > 0


def test_the_global_generator_is_left_as_it_was(store, settings):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    fit(settings(max_epochs=1), store, lambda record: None)
    assert torch.equal(torch.get_rng_state(), before)


# Posteriors so narrow that latent noise, which differs between cuts, is nothing.
STILL = {
    "dropout": 0.0,
    "head_dropout": 0.0,
    "joined_dropout": 0.0,
    "input_dropout": 0.0,
    "logvar_min": -61.0,
    "logvar_max": -60.0,
    "prior": "standard",
    "precision": "64",
}


@pytest.mark.slow
def test_accumulated_micro_batches_equal_one_large_batch(store, settings, tmp_path):
    cuts = [(4, 1), (2, 2), (1, 4)]
    runs = [
        final_weights(
            settings(
                **STILL,
                batch_size=size,
                gradient_accumulation_steps=parts,
                output_dir=str(tmp_path / f"{size}"),
            ),
            store,
        )
        for size, parts in cuts
    ]
    for name, tensor in runs[0].items():
        if tensor.is_floating_point():
            assert tensor.dtype == torch.float64 or not name.startswith("model."), name
        for other in runs[1:]:
            torch.testing.assert_close(tensor, other[name], rtol=1e-8, atol=1e-10)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_step(store, settings):
    with pytest.raises(NumericalError, match=r"at step \d+ \(rows [\d, ]+\); lower --lr"):
        fit(settings(lr=1e30, gradient_clip_val=0, max_epochs=5), store, lambda record: None)


def test_patience_stops_a_run_and_says_why(store, settings):
    result, records, _ = run(
        settings(lr=1e-20, weight_averaging=0, max_epochs=9, patience=2), store
    )
    assert result.epochs == 3
    stopped = next(record for record in records if isinstance(record, Stopped))
    assert stopped.early
    assert stopped.reason.endswith("for 2 validations")


def test_max_steps_ends_a_run_inside_an_epoch_and_validates_there(store, settings):
    result, records, folder = run(settings(max_steps=4, max_epochs=5), store)
    assert (result.steps, result.stopped) == (4, "4 steps done")
    assert [record.step for record in records if isinstance(record, Validated)] == [3, 4]
    assert folder.final_path(step=4, batch_size=4).exists()
    logged = [r for r in read_log(folder.metrics).records if "val_loss" in r]
    told = [(record.epoch, record.step) for record in records if isinstance(record, Validated)]
    assert [(r["epoch"], r["step"]) for r in logged] == told


def test_validation_sees_the_same_events_each_time_also_under_random_truncation(store, settings):
    loader = settings(max_sequence_length=3, truncate="random").loader
    data = SetDataModule(store, store.vocabulary, loader, tasks=("death",), seed=0)
    passes = [torch.cat([batch.keys for batch in data.val_dataloader()]) for _ in range(3)]
    assert torch.equal(passes[0], passes[1])
    assert torch.equal(passes[0], passes[2])


def test_double_precision_weights_come_back_as_they_were_saved(store, settings):
    _, _, folder = run(settings(precision="64", max_steps=2, weight_averaging=0), store)
    (final,) = folder.checkpoints.glob("final_*")
    loaded, saved = load_model(final), read(final).weights()
    assert_same_bits(dict(loaded.model.state_dict()), saved)


def test_a_validation_loss_that_is_not_finite_stops_the_run(store, settings):
    wild = settings(lr=1e30, gradient_clip_val=0, weight_averaging=0, max_steps=1)
    with pytest.raises(NumericalError, match="validation loss is not finite at step 1; lower"):
        fit(wild, store, lambda record: None)


def test_without_any_label_prediction_is_off_and_loss_chooses(tmp_path, settings, caplog):
    store = write_store(tmp_path, labels=lambda split, number: "")
    with caplog.at_level(logging.WARNING):
        result, _, _ = run(settings(), store)
    assert "no labels: prediction is off" in caplog.text
    assert result.metrics == ()
    assert result.chosen_by == "val_loss"


def test_a_validation_split_of_one_class_has_no_auroc_and_loss_chooses(tmp_path, settings, caplog):
    def labels(split, number):
        return "0" if split == "validation" else str(number % 2)

    with caplog.at_level(logging.WARNING):
        result, records, _ = run(settings(), write_store(tmp_path, labels))
    assert "one class in validation" in caplog.text
    assert result.chosen_by == "val_loss"
    validated = next(record for record in records if isinstance(record, Validated))
    assert "val_auc" not in validated.scalars
    assert validated.absent["val_auc"] == "only class 0 is present"
    assert result.metrics[0].value is not None


def test_a_test_split_without_labels_has_no_metrics_but_a_posterior(tmp_path, settings):
    def labels(split, number):
        return "" if split == "test" else str(number % 2)

    result, _, _ = run(settings(), write_store(tmp_path, labels))
    assert {metric.reason for metric in result.metrics} == {"no labelled subjects"}
    assert len(result.posterior) == 1


def test_a_training_split_of_one_class_is_refused(tmp_path, settings):
    def labels(split, number):
        return "0" if split == "train" else str(number % 2)

    with pytest.raises(InputError, match="1 class"):
        run(settings(), write_store(tmp_path, labels))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(store, settings):
    with pytest.raises(SettingsError, match="--device cuda: there is no GPU here"):
        fit(settings(device="cuda"), store, lambda record: None)


def test_without_averaging_the_trained_weights_are_kept(store, settings):
    _, _, folder = run(settings(weight_averaging=0.0, max_epochs=1), store)
    assert not [name for name in read(folder.last).payload["state_dict"] if "averaged" in name]
    assert load_model(folder.best_or_last()).model.training is False


def test_a_run_learns_what_can_be_learned(trained):
    _, result, _, folder = trained
    losses = [r["val_loss"] for r in read_log(folder.metrics).records if "val_loss" in r]
    assert losses[-1] < losses[0]
    assert result.metrics[0].value > 0.7


def test_a_step_of_batches_under_a_budget_equals_one_batch_of_the_same_subjects(
    store, settings, tmp_path
):
    cuts = [
        {"batch_size": 21, "gradient_accumulation_steps": 1},
        {"max_elements_per_batch": 40, "gradient_accumulation_steps": 99},
        {"max_elements_per_batch": 25, "gradient_accumulation_steps": 99, "batching": "length"},
    ]
    runs = [
        final_weights(settings(**STILL, **cut, output_dir=str(tmp_path / str(number))), store)
        for number, cut in enumerate(cuts)
    ]
    for name, tensor in runs[0].items():
        for other in runs[1:]:
            torch.testing.assert_close(tensor, other[name], rtol=1e-8, atol=1e-10)


BUDGETS = [(1.0, "shuffle")]
MORE_BUDGETS = [(0.4, "length"), (5, "shuffle"), (0.4, "shuffle"), (1.0, "length"), (5, "length")]


@pytest.mark.parametrize(
    ("interval", "batching"),
    [*BUDGETS, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_BUDGETS)],
)
def test_a_run_under_a_budget_takes_the_steps_that_were_planned(
    store, settings, interval, batching
):
    options = settings(
        max_elements_per_batch=20,
        max_epochs=3,
        val_check_interval=interval,
        batching=batching,
        patience=0,
    )
    data = SetDataModule(store, store.vocabulary, options.loader, tasks=("death",), seed=0)
    batches = [len(list(data.train_dataloader())) for _ in range(3)]
    assert batching == "length" or len(set(batches)) > 1
    result, records, folder = run(options, store)
    planned = sum(math.ceil(count / 2) for count in batches)
    assert read(folder.last).header.planned_steps == planned
    assert (result.steps, result.epochs, result.stopped) == (planned, 3, "3 epochs done")
    ends = np.cumsum([math.ceil(count / 2) for count in batches]).tolist()
    steps = [record.step for record in records if isinstance(record, Validated)]
    assert steps == sorted(set(steps))
    assert steps[-1] == planned
    if interval == 1.0:
        assert steps == ends


def test_a_run_under_a_budget_says_how_many_subjects_a_batch_holds(store, settings, caplog):
    with caplog.at_level(logging.WARNING):
        _, records, folder = run(settings(max_elements_per_batch=45, max_epochs=1), store)
    pattern = r"up to 45 elements, mean (\d\.\d) subjects \(\d to \d\), (\d+) an epoch"
    mean, batches = re.fullmatch(pattern, records[0].batches).groups()
    assert float(mean) == pytest.approx(21 / int(batches), abs=0.05)
    assert list(folder.checkpoints.glob(f"final_*_bs={round(21 / int(batches))}.ckpt"))
    assert folder.best()
    assert "single subject" not in caplog.text
    assert run(settings(max_steps=1, name="fixed"), store)[1][0].batches == ""


def test_batches_of_mostly_one_subject_are_said(store, settings, caplog):
    with caplog.at_level(logging.WARNING):
        run(settings(max_elements_per_batch=12, max_steps=2), store)
    assert re.search(r"\d+ % of batches hold a single subject", caplog.text)


@pytest.mark.slow
@pytest.mark.parametrize("interval", [0.4, 1.0])
def test_a_run_under_a_budget_goes_on_exactly_from_any_validation(
    store, settings, tmp_path, monkeypatch, interval
):
    options = {"max_elements_per_batch": 20, "max_epochs": 3, "val_check_interval": interval}
    kept = []

    def keep(record):
        if isinstance(record, Validated):
            (last,) = tmp_path.glob("whole/*/*/checkpoints/last.ckpt")
            kept.append(shutil.copy(last, tmp_path / f"{record.step}.ckpt"))

    fit(settings(**options, output_dir=str(tmp_path / "whole")), store, keep)
    (final,) = tmp_path.glob("whole/*/*/checkpoints/final_*")
    whole, train = read(final).payload["state_dict"], pl.Trainer.fit
    for number, checkpoint in enumerate(kept[:-1]):
        resumed = functools.partialmethod(train, ckpt_path=str(checkpoint), weights_only=True)
        with monkeypatch.context() as patch:
            patch.setattr(pl.Trainer, "fit", resumed)
            again = settings(**options, output_dir=str(tmp_path / f"again{number}"))
            assert_same_bits(whole, final_weights(again, store))


def test_a_run_leaves_no_worker_behind(store, settings):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    fit(settings(num_workers=2, max_steps=2), store, lambda record: None)
    left = [child for child in psutil.Process().children() if child.pid not in before]
    assert not [child for child in left if "forkserver" not in " ".join(child.cmdline())]
