"""A run goes on exactly from every kind of checkpoint, wherever a signal or an error met it."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from setvae_cli.errors import RunError, SettingsError, Terminated
from setvae_cli.evaluation.sweep import Sweep
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs import checkpoint
from setvae_cli.runs.folder import RunFolder
from setvae_cli.settings.command import TrainSettings
from setvae_cli.training import module as training_module
from setvae_cli.training.boundary import Boundary
from setvae_cli.training.fit import fit
from setvae_cli.training.keeper import Keeper
from setvae_cli.training.records import Progress, Saved, Validated
from tests.training.resuming import (
    assert_same_end,
    before_call,
    first_run,
    go_on,
    ignore,
    log_of,
    stop_at,
)

# Six micro-batches, three steps and two validations an epoch; twelve steps in all.
OPTIONS = {"max_epochs": 4, "val_check_interval": 0.5, "patience": 0}
BATCHES, VALIDATION_BATCHES = 6, 3


OFTEN = (  # the other instants are tested with what takes long
    "in the second half of a step",
    "while weights change",
    "in the last validation",
    "in a validation",
    "at the very end",
)


def slow(case: str) -> Any:
    """A case that is tested with what takes long."""
    return pytest.param(case, marks=pytest.mark.slow)


class Trouble(Exception):
    """Something unforeseen."""


def trouble() -> None:
    raise Trouble


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setvae_cli.training.pulse.SECONDS", 0.0)


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory) -> RunFolder:
    """A run that was never stopped."""
    small = {"dim": 8, "heads": 2, "latent_dim": 4, "ff_dim": 8, "variable_dim": 4}
    more = {"variable_pools": 2, "embedding_dim": 4}
    place = str(tmp_path_factory.mktemp("whole"))
    settings = TrainSettings.from_flat({**small, **more, **OPTIONS, "output_dir": place})
    fit(settings, store, ignore)
    return first_run(settings)


@pytest.fixture(scope="module")
def stopped(store, tmp_path_factory) -> RunFolder:
    """A run that an error and then a signal stopped: it holds every kind of checkpoint."""
    small = {"dim": 8, "heads": 2, "latent_dim": 4, "ff_dim": 8, "variable_dim": 4}
    more = {"variable_pools": 2, "embedding_dim": 4}
    place = str(tmp_path_factory.mktemp("stopped"))
    settings = TrainSettings.from_flat({**small, **more, **OPTIONS, "output_dir": place})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setvae_cli.training.pulse.SECONDS", 0.0)
        with patch.context() as inner:
            before_call(inner, SeqSetVAE, "forward", 2 * BATCHES, trouble)
            with pytest.raises(Trouble):
                fit(settings, store, ignore)
        with pytest.raises(Terminated):
            go_on(first_run(settings).path, store, stop_at(7))
    return first_run(settings)


@pytest.mark.parametrize(
    "kind",
    ["last", "interrupted", *map(slow, ("previous", "best_0", "best_1", "error"))],
)
def test_a_run_goes_on_exactly_from_every_kind_of_checkpoint(store, whole, stopped, tmp_path, kind):
    folder = RunFolder(Path(shutil.copytree(stopped.path, tmp_path / "run" / "version_0")))
    if kind.startswith("best"):
        path = folder.best()[int(kind[-1])].path
    else:
        (path,) = folder.checkpoints.glob(f"{kind}*.ckpt")
    go_on(path, store)
    assert_same_end(whole, folder)


STOPS = {
    "before the first step": (SeqSetVAE, "forward", 1),
    "in the first half of a step": (SeqSetVAE, "forward", 3),
    "in the second half of a step": (SeqSetVAE, "forward", 4),
    "in the backward pass": (torch.Tensor, "backward", 5),
    "in the last micro-batch of an epoch": (SeqSetVAE, "forward", None),
    "while weights change": (training_module, "update_average", 4),
    "in the last step": (training_module, "update_average", 12),
    "in the first batch of a validation": (Sweep, "add", VALIDATION_BATCHES + 1),
    "in the last batch of a validation": (Sweep, "add", 2 * VALIDATION_BATCHES),
    "at the end of a validation": (Sweep, "finish", 2),
    "in the last validation": (Sweep, "finish", 12),
    "in a save": (checkpoint.torch, "save", 3),
    "while a save takes its place": (os, "replace", 8),
}


@pytest.mark.parametrize("where", [w if w in OFTEN else slow(w) for w in STOPS])
def test_a_signal_at_any_instant_changes_no_bit(
    store, settings, whole, tmp_path, monkeypatch, where
):
    owner, name, number = STOPS[where]
    if number is None:  # a forward pass of training is one of a validation too
        number = BATCHES + 2 * VALIDATION_BATCHES
    parts = settings(**OPTIONS, output_dir=str(tmp_path))
    said = []
    with monkeypatch.context() as patch:
        before_call(patch, owner, name, number, terminate)
        with pytest.raises(Terminated) as caught:
            fit(parts, store, said.append)
    assert caught.value.exit_code == 143
    folder = first_run(parts)
    (saved,) = [record for record in said if isinstance(record, Saved)]
    assert (folder.checkpoints / saved.checkpoint).is_file()
    go_on(folder.path, store)
    assert_same_end(whole, folder)


@pytest.mark.slow
def test_a_run_that_ends_within_an_epoch_ends_the_same_when_it_was_stopped_there(
    store, settings, tmp_path, monkeypatch
):
    parts = [settings(**OPTIONS, max_steps=11, output_dir=str(tmp_path / n)) for n in "ab"]
    fit(parts[0], store, ignore)
    with monkeypatch.context() as patch:
        before_call(patch, Keeper, "save_final", 1, trouble)
        with pytest.raises(Trouble):
            fit(parts[1], store, ignore)
    go_on(first_run(parts[1]).path, store)
    assert_same_end(first_run(parts[0]), first_run(parts[1]))


ERRORS = {
    "in the forward pass": (SeqSetVAE, "forward", 8),
    "in the second half of a step": (SeqSetVAE, "forward", 9),
    "in the backward pass": (torch.Tensor, "backward", 6),
    "while the gradient is clipped": (torch.nn.utils, "clip_grad_norm_", 5),
    "in the optimizer": (torch.optim.AdamW, "zero_grad", 7),
    "while weights change": (training_module, "update_average", 4),
    "when logs are written": (training_module.SetVAEModule, "_log_window", 1),
    "in a validation": (Sweep, "add", 2 * VALIDATION_BATCHES),
    "at the end of a validation": (Sweep, "finish", 3),
    "in a save": (checkpoint.torch, "save", 3),
    "before the first save": (Keeper, "save_validated", 1),
    "before the best is saved": (Keeper, "save_validated", 5),
    "while a save takes its place": (os, "replace", 8),
    "at the very end": (Boundary, "on_train_end", 1),
}


@pytest.mark.parametrize("where", [w if w in OFTEN else slow(w) for w in ERRORS])
def test_an_exception_at_any_instant_changes_no_bit(
    store, settings, whole, tmp_path, monkeypatch, where
):
    owner, name, number = ERRORS[where]
    parts = settings(**OPTIONS, output_dir=str(tmp_path))
    with monkeypatch.context() as patch:
        before_call(patch, owner, name, number, trouble)
        with pytest.raises(Trouble):
            fit(parts, store, ignore)
    folder = first_run(parts)
    if where == "before the first save":
        assert folder.all_checkpoints() == ()
        return
    go_on(folder.path, store)
    assert_same_end(whole, folder)


def test_an_exception_in_a_forward_pass_keeps_the_last_whole_step(store, settings, monkeypatch):
    for accumulation in (1, 2):
        parts = settings(
            **OPTIONS, gradient_accumulation_steps=accumulation, name=f"by{accumulation}"
        )
        said = []
        with monkeypatch.context() as patch:
            before_call(patch, torch.Tensor, "backward", 4 * accumulation, trouble)
            with pytest.raises(Trouble):
                fit(parts, store, said.append)
        (saved,) = [record for record in said if isinstance(record, Saved)]
        assert saved == Saved("error_step=3_bs=4.ckpt", "exception")


def test_a_wrong_request_leaves_no_error_checkpoint(store, settings, tmp_path):
    def refuse(record):
        if isinstance(record, Progress) and record.step == 2:
            raise SettingsError("is wrong", where="--option")

    parts = settings(**OPTIONS, output_dir=str(tmp_path))
    with pytest.raises(SettingsError):
        fit(parts, store, refuse)
    assert not list(first_run(parts).checkpoints.glob("error_*"))


@pytest.mark.slow
def test_a_validation_that_was_cut_short_is_rerun_whole_and_logged_once(
    store, settings, tmp_path, monkeypatch
):
    parts = settings(**OPTIONS, output_dir=str(tmp_path))
    with monkeypatch.context() as patch:
        before_call(patch, Sweep, "add", VALIDATION_BATCHES + 2, terminate)
        with pytest.raises(Terminated):
            fit(parts, store, ignore)
    folder, seen = first_run(parts), []
    assert [record["step"] for record in log_of(folder) if "val_loss" in record] == [1]
    with monkeypatch.context() as patch:  # and cut short once more
        before_call(patch, Sweep, "add", 2, terminate)
        with pytest.raises(Terminated):
            go_on(folder.path, store, seen.append)
    assert not [record for record in seen if isinstance(record, Validated | Progress)]
    go_on(folder.path, store, seen.append)
    assert next(record.step for record in seen if isinstance(record, Validated)) == 2
    steps = [record["step"] for record in log_of(folder) if "val_loss" in record]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_interrupted_and_error_checkpoints_stay_as_many_as_are_kept(store, settings, tmp_path):
    parts = settings(**OPTIONS, keep=2, output_dir=str(tmp_path))

    def fail_at(step):
        def sink(record):
            if isinstance(record, Progress) and record.step == step:
                trouble()

        return sink

    with pytest.raises(Terminated):
        fit(parts, store, stop_at(2))
    folder = first_run(parts)
    for step in (4, 6, 8):
        with pytest.raises(Terminated):
            go_on(folder.path, store, stop_at(step))
        with pytest.raises(Trouble):
            go_on(folder.path, store, fail_at(step + 2))
    assert [path.name for path in folder.marked("interrupted")] == [
        "interrupted_step=9_bs=4.ckpt",
        "interrupted_step=7_bs=4.ckpt",
    ]
    assert len(folder.marked("error")) == 2


@pytest.mark.slow
def test_tensorboard_sees_each_step_once(store, settings, whole, tmp_path):
    parts = settings(**OPTIONS, output_dir=str(tmp_path))
    with pytest.raises(Terminated):
        fit(parts, store, stop_at(7))
    folder = first_run(parts)
    go_on(folder.checkpoints / "previous.ckpt", store)
    assert len(list(folder.path.glob("events.*"))) == 2
    seen = []
    for run in (whole, folder):
        events = EventAccumulator(str(run.path), size_guidance={"scalars": 0}).Reload()
        tags = [tag for tag in events.Tags()["scalars"] if tag != "setvae/log_format"]
        seen.append({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags})
    assert seen[0] == seen[1]


@pytest.mark.slow
def test_a_disk_that_refuses_a_save_keeps_the_last_good_checkpoint_and_names_it(
    store, settings, whole, tmp_path, monkeypatch
):
    parts = settings(**OPTIONS, output_dir=str(tmp_path))

    def full():
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        before_call(patch, os, "replace", 9, full)
        with pytest.raises(RunError, match=r"no space left.*; the last good checkpoint is last.ck"):
            fit(parts, store, ignore)
    folder = first_run(parts)
    assert checkpoint.is_intact(folder.last)
    go_on(folder.path, store)
    assert_same_end(whole, folder)
