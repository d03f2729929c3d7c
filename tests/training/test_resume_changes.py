"""What may change when a run goes on, what that does to its course, and what is refused."""

import itertools
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from setvae_cli.errors import InputError, NumericalError, SettingsError, Terminated
from setvae_cli.evaluation.sweep import Sweep
from setvae_cli.runs.checkpoint import read, save
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.metrics_log import read as read_log
from setvae_cli.training import keeper, measuring
from setvae_cli.training.boundary import Boundary
from setvae_cli.training.changes import compare
from setvae_cli.training.fit import fit
from setvae_cli.training.module import SetVAEModule
from setvae_cli.training.records import Stopped, Validated
from setvae_cli.training.resumption import prepare
from tests.training.resuming import (
    assert_same_end,
    before_call,
    final_of,
    first_run,
    go_on,
    ignore,
    log_of,
    stop_at,
)
from tests.training.stores import SIZES, write_store

# Six micro-batches and three steps an epoch.
OPTIONS = {"max_epochs": 4, "patience": 0}


class Killed(BaseException):
    """Ends a run where it is, as SIGKILL would: nothing is saved any more."""


def slow(*cases: Any) -> list[Any]:
    """Cases that are tested with what takes long."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]


def kill() -> None:
    raise Killed


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setvae_cli.training.pulse.SECONDS", 0.0)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch):
    """`killed(settings, store, owner, name, call)` runs up to that call and leaves it there."""

    def run(settings, store, owner, name, call) -> RunFolder:
        with monkeypatch.context() as patch:
            patch.setattr(Boundary, "on_exception", lambda *_: None)
            before_call(patch, owner, name, call, kill)
            with pytest.raises(Killed):
                fit(settings, store, ignore)
        return first_run(settings)

    return run


@pytest.fixture
def stopped(store, settings):
    """`stopped(step, **options)` is a run that a signal stopped there."""

    def run(step: int, **options) -> RunFolder:
        given = settings(**{**OPTIONS, **options})
        with pytest.raises(Terminated):
            fit(given, store, stop_at(step))
        return first_run(given)

    return run


def rows_seen(patch: pytest.MonkeyPatch) -> list[list[int]]:
    """Row numbers of each micro-batch of training from here on."""
    seen, original = [], SetVAEModule.training_step

    def step(module, batch, number):
        seen.append(batch.rows.tolist())
        return original(module, batch, number)

    patch.setattr(SetVAEModule, "training_step", step)
    return seen


EXACT = {"max_epochs": 9, "max_steps": 99, "lr": 0.1, "num_workers": 2, "patience": 3, "keep": 5}
INEXACT = {
    "batch_size": 8,
    "gradient_accumulation_steps": 3,
    "max_elements_per_batch": 30,
    "precision": "64",
    "threads": 2,
}


@pytest.mark.parametrize("name", [*EXACT, *INEXACT])
def test_a_change_is_listed_and_judged(settings, name):
    value = {**EXACT, **INEXACT}[name]
    changes = compare(settings(), settings(**{name: value}))
    assert changes.listed == ((name, settings().to_flat()[name], value),)
    assert [reason.split()[0] for reason in changes.inexact] == [name] * (name in INEXACT)


def test_nothing_changed_is_exact(settings):
    changes = compare(settings(), settings())
    assert (changes.listed, changes.cuts, changes.inexact) == ((), False, ())


@pytest.mark.parametrize("name", ["seed", "dim", "latent_dim", "set_window", "weight_averaging"])
def test_what_is_fixed_is_refused_with_both_values(settings, name):
    value = {"set_window": 60.0, "weight_averaging": 0.0}.get(name, 16)
    with pytest.raises(SettingsError, match=r"is \S+, and the run was trained with \S+: .* fixed"):
        compare(settings(), settings(**{name: value}))


@pytest.mark.parametrize(
    ("size", "accumulation", "step"),
    [(2, 2, 3), *slow((5, 3, 4), (2, 2, 4), (3, 1, 3), (3, 1, 4), (8, 2, 3), (8, 2, 4), (5, 3, 3))],
)
def test_other_batches_in_the_middle_of_an_epoch_leave_no_subject_out(
    store, stopped, monkeypatch, size, accumulation, step
):
    with monkeypatch.context() as patch:
        before = rows_seen(patch)
        folder = stopped(step)
    given = {"batch_size": size, "gradient_accumulation_steps": accumulation}
    with monkeypatch.context() as patch:
        after = rows_seen(patch)
        go_on(folder.path, store, **given)
    total = SIZES["train"]
    seen = list(itertools.chain.from_iterable(before))[total:]
    rest = list(itertools.chain.from_iterable(after))
    left = len(rest) - 2 * total  # of the second of four epochs
    again = len(seen) + left - total
    assert 0 <= again < size * accumulation
    assert sorted(seen + rest[again:left]) == sorted(rest[left : left + total])


@pytest.mark.slow
def test_other_batches_end_after_as_many_epochs(store, stopped):
    for size in (2, 8):
        result = go_on(stopped(4, name=f"by{size}").path, store, batch_size=size)
        assert (result.epochs, result.stopped) == (4, "4 epochs done")


def test_a_validation_that_is_owed_and_cut_short_again_keeps_its_place(
    store, settings, monkeypatch
):
    def cut(batch, run):
        with monkeypatch.context() as patch:
            before_call(patch, Sweep, "add", batch, lambda: signal.raise_signal(signal.SIGTERM))
            with pytest.raises(Terminated):
                run()
        assert {read(path).step for path in folder.marked("interrupted")} == {4}

    given = settings(**OPTIONS, val_check_interval=0.5)
    folder, batches = first_run(given), 3  # of a validation, of which each step has one
    cut(3 * batches + 1, lambda: fit(given, store, ignore))
    with monkeypatch.context() as patch:
        seen = rows_seen(patch)
        cut(2, lambda: go_on(folder.path, store))
        go_on(folder.path, store, batch_size=8)
    assert read(folder.last).header.next_epoch == 4
    left = 3 * SIZES["train"] - 8
    assert left <= sum(map(len, seen)) < left + 2 * 8


@pytest.mark.slow
def test_a_longer_run_keeps_its_warm_ups_and_ends_its_cosine_at_the_new_end(
    store, settings, tmp_path
):
    long = {"beta_warmup": 0.5, "lr_warmup": 0.5, "patience": 0}
    short = settings(max_epochs=4, **long)
    fit(short, store, ignore)
    folder = first_run(short)
    result = go_on(folder.path, store, max_epochs=14)
    records = [record for record in read_log(folder.metrics).records if "lr" in record]
    betas = [record["train_beta_step"] for record in records]
    assert betas == sorted(betas)
    assert min(betas) > 0
    assert betas[0] == betas[-1]  # full behind step 6, half of the 12 that were planned first
    rates = [record["lr"] for record in records]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert 0 < rates[-1] < 0.05 * short.optimizer.lr
    assert (result.steps, result.epochs) == (42, 14)
    header = read(folder.last).header
    assert (header.planned_steps, header.first_planned_steps) == (42, 12)


@pytest.mark.slow
def test_a_run_that_was_extended_equals_one_that_was_planned_so(store, settings, tmp_path):
    still = {"scheduler": "constant", "lr_warmup": 2, "beta_warmup": 4, "patience": 0}
    whole = settings(max_epochs=4, **still, output_dir=str(tmp_path / "whole"))
    fit(whole, store, ignore)
    parts = settings(max_epochs=2, **still, output_dir=str(tmp_path / "parts"))
    fit(parts, store, ignore)
    (final,) = first_run(parts).checkpoints.glob("final_*")
    go_on(final, store, max_epochs=4)
    final.unlink()
    folder = first_run(parts)
    for name, tensor in final_of(first_run(whole))["state_dict"].items():
        assert torch.equal(tensor, final_of(folder)["state_dict"][name])
    curves = [
        [record for record in log_of(run) if "event" not in record]
        for run in (first_run(whole), folder)
    ]
    assert curves[0] == curves[1]  # verdicts warm up over what was planned first


@pytest.mark.slow
def test_patience_goes_on_where_it_was_and_may_be_changed(store, settings, tmp_path):
    worse = {"max_epochs": 9, "lr": 1e-9, "weight_averaging": 0}  # the first validation stays best
    whole = settings(**worse, patience=3, output_dir=str(tmp_path / "whole"))
    assert fit(whole, store, ignore).stopped == (
        f"no better val_auc than {first_run(whole).best()[0].value:.4f} for 3 validations"
    )
    parts = settings(**worse, patience=3, output_dir=str(tmp_path / "parts"))
    with pytest.raises(Terminated):
        fit(parts, store, stop_at(7))
    folder, told = first_run(parts), []
    assert go_on(folder.path, store, told.append).steps == 12
    assert [record.early for record in told if isinstance(record, Stopped)] == [True]
    assert_same_end(first_run(whole), folder)
    assert go_on(folder.path, store) is None
    assert go_on(folder.path, store, patience=4).steps == 15


def test_a_run_killed_before_patience_was_heard_does_not_train_on(
    store, settings, killed, tmp_path
):
    worse = {"max_epochs": 9, "lr": 1e-9, "weight_averaging": 0, "patience": 3}
    folder = killed(settings(**worse), store, Boundary, "on_train_end", 1)
    told = []
    result = go_on(folder.path, store, told.append)
    assert (result.steps, [r for r in told if isinstance(r, Validated)]) == (12, [])
    assert result.stopped.startswith("no better val_auc")


LATE = {
    "named": (Boundary, "on_train_end", 1),
    "measured": (measuring, "_sweep_test", 1),
    "logged": (measuring, "_test_scalars", 1),
    "told": (measuring, "Result", 1),
}


@pytest.mark.parametrize("before", ["measured", *slow("told", "named", "logged")])
def test_a_run_killed_at_its_end_is_finished_without_training(
    store, settings, killed, monkeypatch, tmp_path, before
):
    whole = settings(**OPTIONS, output_dir=str(tmp_path / "whole"))
    expected = fit(whole, store, ignore)
    parts = settings(**OPTIONS, output_dir=str(tmp_path / "parts"))
    folder = killed(parts, store, *LATE[before])
    with monkeypatch.context() as patch:
        seen = rows_seen(patch)
        result = go_on(folder.path, store)
    assert seen == []
    if before == "told":
        assert result is None
    else:
        assert result.metrics == expected.metrics
        assert result.stopped == expected.stopped == "4 epochs done"
    assert_same_end(first_run(whole), folder)
    assert go_on(folder.path, store) is None


@pytest.mark.slow
def test_a_run_killed_between_two_names_of_its_last_checkpoint_ends_with_the_right_one(
    store, settings, killed, tmp_path
):
    rising = {**OPTIONS, "lr": 3e-2}
    whole = settings(**rising, output_dir=str(tmp_path / "whole"))
    fit(whole, store, ignore)
    for call in range(1, 8):
        parts = settings(**rising, output_dir=str(tmp_path / f"parts{call}"))
        folder = killed(parts, store, keeper, "_link", call)
        go_on(folder.path, store)
        assert_same_end(first_run(whole), folder)


def test_a_damaged_newest_checkpoint_is_named_and_set_aside(store, stopped, caplog):
    folder = stopped(5, val_check_interval=0.3)
    (newest,) = folder.marked("interrupted")
    newest.write_bytes(newest.read_bytes()[:-100])
    damaged = newest.read_bytes()
    resumption = prepare(folder.path, {})
    assert [(one.path, one.why) for one in resumption.chosen.refused] == [
        (newest, "is cut short or damaged")
    ]
    assert resumption.step == 5
    go_on(folder.path, store)
    assert (folder.path / "abandoned" / "0" / newest.name).read_bytes() == damaged
    assert f"set aside in abandoned/0: {newest.name}" in caplog.text


def test_weights_that_are_not_finite_are_passed_over(store, stopped):
    folder = stopped(5, val_check_interval=0.3)
    (newest,) = folder.marked("interrupted")
    payload = dict(read(newest).payload)
    states = payload["state_dict"]
    name = next(name for name in states if states[name].is_floating_point())
    payload["state_dict"] = {**states, name: torch.full_like(states[name], float("nan"))}
    save(newest, payload)
    assert [one.path for one in prepare(folder.path, {}).chosen.refused] == [newest]
    with pytest.raises(InputError, match=f"weight {name} is not finite; take an earlier"):
        prepare(newest, {})


@pytest.mark.slow
def test_an_earlier_checkpoint_sets_later_ones_and_the_log_aside(store, stopped):
    folder = stopped(8, val_check_interval=0.3)
    early = min(folder.best(), key=lambda best: best.step).path
    later = {
        path.name: path.read_bytes()
        for path in folder.all_checkpoints()
        if read(path).step > read(early).step
    }
    log = folder.metrics.read_bytes()
    go_on(early, store)
    aside = folder.path / "abandoned" / "0"
    assert {path.name: path.read_bytes() for path in aside.glob("*.ckpt")} == later
    assert (aside / "metrics.jsonl").read_bytes() == log
    assert go_on(folder.path, store) is None


def test_other_data_is_refused_with_what_differs(store, stopped, tmp_path):
    folder = stopped(4)
    (tmp_path / "other").mkdir()
    renamed = write_store(tmp_path / "other", codes=("HR", "SBP", "Pulse"))
    with pytest.raises(InputError, match=r"1 codes are missing \(Temp\), 1 codes are new \(Pulse"):
        prepare(folder.path, {}).check(renamed)
    (tmp_path / "else").mkdir()
    relabelled = write_store(tmp_path / "else", lambda split, number: str(number % 3 % 2))
    with pytest.raises(InputError, match=r"is not the data that the run .*: .*differ"):
        prepare(folder.path, {}).check(relabelled)


def test_a_run_is_found_again_where_it_was_moved_to(store, stopped, tmp_path):
    folder = stopped(4)
    moved = tmp_path / "elsewhere" / "of mine"
    shutil.move(folder.path, moved)
    go_on(moved, store)
    assert list(moved.glob("checkpoints/final_*"))


def test_a_log_folder_of_its_own_stays_in_use(store, stopped, tmp_path):
    folder = stopped(4, log_dir=str(tmp_path / "logs"))
    go_on(folder.path, store)
    assert len(list((tmp_path / "logs").glob("events.*"))) == 2
    assert not list(folder.path.glob("events.*"))


def test_a_checkpoint_outside_of_a_run_is_told_so(store, stopped, tmp_path):
    folder = stopped(4)
    lonely = Path(shutil.copy(folder.marked("interrupted")[0], tmp_path / "lonely.ckpt"))
    with pytest.raises(InputError, match=r"lonely.ckpt: lies in no run's folder; put it back"):
        prepare(lonely, {})


@pytest.mark.slow
def test_a_cut_log_is_repaired_and_its_gap_is_told(store, stopped, caplog):
    folder = stopped(8)
    whole = folder.metrics.read_bytes()
    folder.metrics.write_bytes(whole + b'{"step":9,"tr')
    assert go_on(folder.path, store, max_steps=9).steps == 9
    assert read_log(folder.metrics).lost_bytes == 0
    assert "metrics.jsonl" not in caplog.text
    folder = stopped(8, name="cut")
    folder.metrics.write_bytes(whole[: len(whole) // 2])
    go_on(folder.path, store)
    assert "metrics.jsonl has lost" in caplog.text
    steps = [record["step"] for record in read_log(folder.metrics).records]
    assert steps == sorted(steps)


@pytest.mark.parametrize("bad", [[3, 4], *slow([2, 7], [3])])
def test_skipped_steps_change_nothing_and_are_counted_over_a_resume(
    store, settings, monkeypatch, bad
):
    """A step is bad when the loss of a micro-batch in it is; its number is that of the call."""
    states, folder = [], None

    def spoil(patch, first):
        original, calls = SetVAEModule.training_step, [first]

        def step(module, batch, number):
            calls[0] += 1
            loss = original(module, batch, number)
            spoiled = (calls[0] + 1) // 2 in bad
            if spoiled:
                module.finite.see(loss.detach() * float("nan"), batch.rows)
            return loss * float("nan") if spoiled else loss

        patch.setattr(SetVAEModule, "training_step", step)

    def watch(patch):
        original = Boundary.on_train_batch_end

        def end(boundary, trainer, module, *more):
            tensors = [*module.state_dict().values()]
            moments = trainer.optimizers[0].state_dict()["state"].values()
            tensors += [value for state in moments for value in state.values()]
            states.append([tensor.clone() for tensor in tensors])
            original(boundary, trainer, module, *more)

        patch.setattr(Boundary, "on_train_batch_end", end)

    given = settings(**OPTIONS, skip_bad_batches=len(bad))
    with monkeypatch.context() as patch:
        spoil(patch, 0)
        watch(patch)
        with pytest.raises(Terminated):
            fit(given, store, stop_at(5))
    folder = first_run(given)
    ends = states[1::2]
    for step in (number for number in bad if number <= len(ends)):
        before, after = ends[step - 2], ends[step - 1]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    with monkeypatch.context() as patch:
        spoil(patch, 2 * prepare(folder.path, {}).step)
        result = go_on(folder.path, store)
    assert result.steps == 12
    assert final_of(folder)["setvae_state"]["skipped"] == len(bad)
    logged = [r["skipped_steps"] for r in read_log(folder.metrics).records if "skipped_steps" in r]
    assert logged == list(range(1, len(bad) + 1))


def test_more_bad_steps_than_may_be_skipped_end_the_run_with_row_numbers(
    store, settings, monkeypatch
):
    given = settings(**OPTIONS, skip_bad_batches=1)
    original = SetVAEModule.training_step

    def step(module, batch, number):
        loss = original(module, batch, number)
        return loss * float("nan") if module.global_step in (2, 4) else loss

    with monkeypatch.context() as patch:
        patch.setattr(SetVAEModule, "training_step", step)
        match = r"gradient is not finite at step 5 after 1 skipped steps \(rows [\d, ]+\); lower"
        with pytest.raises(NumericalError, match=match) as caught:
            fit(given, store, ignore)
    named = re.search(r"rows ([\d, ]+)\)", str(caught.value))[1]
    rows = set(map(int, named.split(", ")))
    assert rows <= set(np.arange(len(store.labels)).tolist())
    folder = first_run(given)
    assert [path.name for path in folder.marked("error")] == ["error_step=4_bs=4.ckpt"]
    assert go_on(folder.path, store).steps == 12


@pytest.mark.slow
def test_best_checkpoints_of_a_resumed_run_are_those_of_the_whole_run(store, settings, stopped):
    folder = stopped(7, val_check_interval=0.3, lr=3e-2)
    go_on(folder.path, store)
    values = {record["step"]: record["val_auc"] for record in log_of(folder) if "val_auc" in record}
    ranked = sorted(values, key=lambda step: (-round(values[step], 4), step))
    assert [best.step for best in folder.best()] == ranked[:2]
