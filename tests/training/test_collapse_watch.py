"""The watch over collapse in a run: it acts as asked, forgets nothing, and never changes training.

The runs here collapse for real: beta is 10 from the first step, and a step learns fast.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from setvae_cli.cli import collapse_view
from setvae_cli.cli.collapse_view import CollapseView
from setvae_cli.cli.output import Output
from setvae_cli.errors import InputError, NumericalError, Terminated
from setvae_cli.monitor.files import HISTORY, LATEST
from setvae_cli.nn.gaussian import DiagGaussian
from setvae_cli.runs.checkpoint import STATE, read, save
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.metrics_log import read as read_log
from setvae_cli.runs.model import load_model
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training import collapse, module
from setvae_cli.training.fit import fit
from setvae_cli.training.keeper import Keeper
from setvae_cli.training.records import Checked, Result, Saved
from setvae_cli.training.resumption import prepare
from tests.training.resuming import (
    Sink,
    assert_same_end,
    final_of,
    first_run,
    go_on,
    ignore,
    log_of,
    stop_at,
)
from tests.training.stores import write_store
from tests.training.teams import NEVER, TWO, run_setvae
from tests.training.teams import train as train_together

MOST = 21  # steps
DOOMED = {
    "latent_dim": 2,
    "max_beta": 10.0,
    "beta_schedule": "constant",
    "lr": 0.02,
    "weight_averaging": 0.0,
    "max_epochs": MOST // 3,
    "patience": 0,
    "monitor_every": 6,
    "plot_every": 9,
}
Settings = Callable[..., TrainSettings]


class Killed(BaseException):
    """Ends a run where it is, as SIGKILL would."""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setvae_cli.training.pulse.SECONDS", 0.0)


def doomed(settings: Settings, place: Path, **options: object) -> TrainSettings:
    return settings(**{**DOOMED, **options}, output_dir=str(place))


def drawing(options: TrainSettings) -> Sink:
    """A listener that draws as the command does."""
    view = CollapseView(options, Output("train", quiet=True))
    folder = first_run(options).posterior_metrics

    def sink(record: object) -> None:
        if isinstance(record, Checked):
            view.show(record, folder, "run")

    return sink


def all_of(*sinks: Sink) -> Sink:
    def sink(record: object) -> None:
        for each in sinks:
            each(record)

    return sink


def events(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    return [record for record in log_of(folder) if record.get("event") == kind]


def betas(folder: RunFolder, tag: str) -> dict[int, float]:
    return {record["step"]: record[tag] for record in log_of(folder) if tag in record}


def collapsed_at(folder: RunFolder) -> int:
    return next(
        one["step"]
        for one in events(folder, "verdict")
        if (one["split"], one["state"]) == ("val", "collapsed")
    )


def left_by(folder: RunFolder) -> dict[str, bytes]:
    """Pictures and JSON of the watch."""
    return {path.name: path.read_bytes() for path in folder.posterior_metrics.iterdir()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    sizes = {"dim": 8, "heads": 2, "ff_dim": 8, "variable_dim": 4, "variable_pools": 2}

    def build(**options: object) -> TrainSettings:
        return TrainSettings.from_flat({**sizes, "embedding_dim": 4, **options})

    return build


@pytest.fixture(scope="module")
def warned(store: Store, small: Settings, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that collapsed, and about which nothing was done."""
    options = doomed(small, tmp_path_factory.mktemp("warned"))
    fit(options, store, drawing(options))
    return first_run(options)


def test_a_collapse_is_an_event_with_its_rule_and_changes_nothing_unasked(warned) -> None:
    (action,) = events(warned, "action")
    assert (action["kind"], action["step"], action["levels"]) == ("warn", collapsed_at(warned), "1")
    assert action["words"] == "Nothing was changed (--on-collapse warn)."
    assert set(betas(warned, "train_beta_step").values()) == {10.0}
    (verdict,) = [one for one in events(warned, "verdict") if one["step"] == action["step"]]
    assert "decoder gap about 0, 3 checks" in verdict["rule"]


@pytest.mark.slow
def test_checkpoint_keeps_one_that_can_be_gone_on_from_and_exported(
    store, small, tmp_path, monkeypatch
) -> None:
    said: list[object] = []
    options = doomed(small, tmp_path, max_epochs=6, on_collapse="checkpoint", keep=1)
    fit(options, store, said.append)
    folder = first_run(options)
    (kept,) = folder.checkpoints.glob("collapsed_step=*.ckpt")
    step = collapsed_at(folder)
    assert [record for record in said if isinstance(record, Saved)] == [
        Saved(kept.name, "collapse")
    ]
    assert read(kept).step == step
    assert load_model(kept).settings.model.latent_dim == 2
    whole = final_of(folder)["state_dict"]
    go_on(kept, store)
    for name, tensor in final_of(folder)["state_dict"].items():
        assert torch.equal(tensor, whole[name])
    assert len(events(folder, "action")) == 1
    assert len(list(folder.checkpoints.glob("collapsed_step=*.ckpt"))) == 1


@pytest.mark.slow
def test_a_run_killed_before_it_named_its_collapsed_checkpoint_names_it_later(
    store, small, tmp_path, monkeypatch
) -> None:
    options = doomed(small, tmp_path, on_collapse="checkpoint")

    def kill(keeper: Keeper, step: int) -> str:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "name_collapsed", kill)
        with pytest.raises(Killed):
            fit(options, store, ignore)
    folder = first_run(options)
    assert not list(folder.checkpoints.glob("collapsed_*"))
    go_on(folder.path, store)
    (kept,) = folder.checkpoints.glob("collapsed_step=*.ckpt")
    assert read(kept).step == collapsed_at(folder)


@pytest.fixture(scope="module")
def ended(store: Store, small: Settings, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that a collapse ended, and its closing table."""
    options = doomed(small, tmp_path_factory.mktemp("ended"), on_collapse="stop")
    return first_run(options), fit(options, store, ignore)


@pytest.fixture
def stopped(ended, tmp_path: Path) -> RunFolder:
    """A copy of that run."""
    return RunFolder(Path(shutil.copytree(ended[0].path, tmp_path / "run" / "version_0")))


def test_stop_ends_the_run_with_its_result(ended) -> None:
    folder, result = ended
    assert isinstance(result, Result)
    assert result.stopped == "the posterior collapsed (--on-collapse stop)"
    assert result.steps == collapsed_at(folder) < MOST
    assert result.posterior[0].verdict == "collapsed"
    assert [one["kind"] for one in events(folder, "action")] == ["stop"]


def test_a_run_that_a_collapse_ended_has_nothing_to_do(store, stopped) -> None:
    assert go_on(stopped.path, store) is None


def test_a_run_that_a_collapse_ended_goes_on_where_something_else_is_asked_for(
    store, stopped
) -> None:
    step = collapsed_at(stopped)
    (old,) = stopped.checkpoints.glob("final_*")
    result = go_on(stopped.path, store, on_collapse="lower-beta")
    assert result is not None
    assert result.steps == MOST
    actions = [(one["kind"], one["step"]) for one in events(stopped, "action")]
    assert actions[:2] == [("stop", step), ("lower-beta", step + 3)]
    assert old.exists()


@pytest.mark.slow
def test_an_end_that_was_overruled_is_not_remembered_when_stop_is_asked_for_again(
    store, stopped
) -> None:
    step = collapsed_at(stopped)
    with pytest.raises(Terminated):
        go_on(stopped.path, store, stop_at(step + 1), on_collapse="warn")
    result = go_on(stopped.path, store, on_collapse="stop")
    assert result is not None
    assert result.steps == step + 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["max_beta", "free_bits"])
def test_a_changed_objective_lasts_over_a_resume_until_it_is_given_anew(
    store, small, tmp_path, monkeypatch, name
) -> None:
    kind = {"max_beta": "lower-beta", "free_bits": "free-bits"}[name]
    options = doomed(small, tmp_path, on_collapse=kind)
    monkeypatch.setattr(module, "LOG_EVERY", 1)
    with pytest.raises(Terminated):
        fit(options, store, stop_at(19))
    folder = first_run(options)
    step = collapsed_at(folder)
    (action,) = events(folder, "action")
    assert action[f"new_{name}"] == {"max_beta": 5.0, "free_bits": 0.25}[name]
    states = []
    monkeypatch.setattr(collapse, "weights_at", _noting(collapse.weights_at, states))
    copy = RunFolder(Path(shutil.copytree(folder.path, tmp_path / "anew" / "version_0")))
    go_on(folder.path, store)
    assert {getattr(state, name) for state in states} == {action[f"new_{name}"]}
    if name == "max_beta":
        seen = betas(folder, "train_beta_step")
        assert {n: beta for n, beta in seen.items() if n <= step} == dict.fromkeys(
            range(1, step + 1), 10.0
        )
        assert {beta for n, beta in seen.items() if n > step} == {5.0}
    assert set(betas(folder, "val_beta").values()) == {10.0}  # validations stay comparable
    states.clear()
    go_on(copy.path, store, **{name: 3.0})
    assert {getattr(state, name) for state in states} == {3.0}


def _noting(function: Callable[..., Any], found: list[Any]) -> Callable[..., Any]:
    def call(step: int, planned: int, objective: Any, **named: Any) -> Any:
        found.append(objective)
        return function(step, planned, objective, **named)

    return call


@pytest.mark.slow
def test_a_watch_that_is_switched_off_does_not_undo_what_it_did(
    store, small, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(module, "LOG_EVERY", 1)
    options = doomed(small, tmp_path, on_collapse="lower-beta")
    with pytest.raises(Terminated):
        fit(options, store, stop_at(18))
    folder = first_run(options)
    with pytest.raises(Terminated):
        go_on(folder.path, store, stop_at(20), disable_metrics_monitoring=True)
    go_on(folder.path, store, disable_metrics_monitoring=False)
    late = {n: beta for n, beta in betas(folder, "train_beta_step").items() if n > 15}
    assert set(late.values()) == {5.0}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_was_stopped_within_an_epoch_leaves_what_a_whole_one_leaves(
    store, small, tmp_path, warned, workers
) -> None:
    options = doomed(small, tmp_path, num_workers=workers)
    folder = first_run(options)
    with pytest.raises(Terminated):
        fit(options, store, all_of(drawing(options), stop_at(8)))
    with pytest.raises(Terminated):
        go_on(folder.path, store, all_of(drawing(options), stop_at(19)))
    go_on(folder.path, store, drawing(options))
    assert_same_end(warned, folder)
    assert left_by(folder).keys() == left_by(warned).keys()
    assert [name for name, data in left_by(warned).items() if data != left_by(folder)[name]] == []


@pytest.mark.slow
def test_a_run_that_was_killed_forgets_what_it_saw_behind_its_last_checkpoint(
    store, small, tmp_path, warned, monkeypatch
) -> None:
    options = doomed(small, tmp_path)
    folder = first_run(options)

    def kill(record: object) -> None:
        if isinstance(record, Checked) and (record.split, record.step) == ("val", 21):
            raise Killed

    with pytest.raises(Killed), monkeypatch.context() as patch:
        patch.setattr("setvae_cli.training.boundary.Boundary.on_exception", lambda *_: None)
        fit(options, store, all_of(drawing(options), kill))
    stray = folder.posterior_metrics / "posterior_metrics_step_22.png"
    stray.write_bytes(b"of a course that is no more")
    go_on(folder.path, store, drawing(options))
    assert left_by(folder) == left_by(warned)


@pytest.mark.slow
def test_two_processes_that_were_stopped_judge_as_two_that_were_not(store, tmp_path) -> None:
    options = ("--max-beta", "10", "--beta-schedule", "constant", "--latent-dim", "2", "--lr",
               "0.02", "--monitor-every", "2", "--dim", "8")  # fmt: skip
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for place, acts, code in ((whole, NEVER, 0), (parts, (5, 1, signal.SIGTERM), 143)):
        place.mkdir()
        done = train_together(store, *options, *TWO, folder=place, acts=acts)
        assert done.code == code, done
    folders = [RunFolder(place / "outputs/seqsetvae/version_0") for place in (whole, parts)]
    done = run_setvae("resume", str(folders[1].path), folder=parts)
    assert done.code == 0, done
    assert log_of(folders[0]) == log_of(folders[1])
    histories = [(each.posterior_metrics / HISTORY).read_bytes() for each in folders]
    assert histories[0] == histories[1]


OTHERS = {
    "off": {"disable_metrics_monitoring": True},
    "each step": {"monitor_every": 1, "plot_every": 1},
    "fast": {"monitor_every": None, "plot_every": None, "fast_detection": True},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["off", *(pytest.param(name, marks=pytest.mark.slow) for name in ("each step", "fast"))]
)
def test_how_closely_a_run_is_watched_changes_no_weight(
    store, small, tmp_path, warned, name
) -> None:
    options = doomed(small, tmp_path, **OTHERS[name])
    fit(options, store, ignore)
    for weight, tensor in final_of(first_run(options))["state_dict"].items():
        assert torch.equal(tensor, final_of(warned)["state_dict"][weight]), weight


def test_without_a_watch_nothing_is_measured_while_training_and_nothing_is_left(
    store, small, tmp_path, monkeypatch
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("something looks at the posterior")

    monkeypatch.setattr(collapse.CollapseWatch, "__init__", refuse)
    monkeypatch.setattr(collapse.OnlineWindow, "__init__", refuse)
    monkeypatch.setattr(collapse.Metrics, "update", refuse)
    monkeypatch.setattr("setvae_cli.training.measuring._sweep_test", _stop)
    options = doomed(small, tmp_path, max_epochs=1, disable_metrics_monitoring=True)
    with pytest.raises(Killed):
        fit(options, store, ignore)
    folder = first_run(options)
    assert not folder.posterior_metrics.exists()
    assert final_of(folder)[STATE]["watch"] is None
    assert not events(folder, "verdict")


def _stop(*arguments: object) -> None:
    raise Killed


@pytest.mark.slow
def test_looks_follow_the_steps_that_are_planned_now(store, small, tmp_path) -> None:
    options = doomed(small, tmp_path, max_epochs=2, monitor_every=None, plot_every=None)
    fit(options, store, ignore)
    folder = first_run(options)
    (old,) = folder.checkpoints.glob("final_*")
    go_on(folder.path, store, max_epochs=20)  # 60 steps: every second one
    old.unlink()
    looks = [record["step"] for record in log_of(folder) if "train_kl_level_1" in record]
    assert looks == [*range(1, 7), *range(8, 61, 2)]


def test_a_checkpoint_without_a_watch_is_gone_on_from(store, stopped) -> None:
    (path,) = stopped.checkpoints.glob("final_*")
    payload = {**read(path).payload}
    payload[STATE] = {name: v for name, v in payload[STATE].items() if name != "watch"}
    save(path, payload)
    result = go_on(path, store)
    assert result is not None
    assert result.steps == MOST


def _at(*keys: Any, value: Any) -> Callable[[Any], None]:
    def change(state: Any) -> None:
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = value

    return change


CHANGES = ("actions", "taken", 0, "changes")
FORGED = {
    "no parts": lambda state: state.clear(),
    "another width": _at("window", "metrics", "levels", 0, "sums", value=torch.zeros(8, 3, 9)),
    "no number": _at("window", "metrics", "past", "sums", value=torch.full((64, 4), torch.nan)),
    "text for sums": _at("window", "metrics", "levels", 0, "means", value="many"),
    "a window that is none": _at("window", value=3),
    "a state that is none": _at("judges", "val", "1", "state", value="splendid"),
    "a level that is none": _at("judges", "val", value={"7": {}}),
    "no judges": _at("judges", value=[]),
    "another setting": _at(*CHANGES, value={"recon_weight": 9.0}),
    "a weight below 0": _at(*CHANGES, value={"max_beta": -1.0}),
    "a weight that is no number": _at(*CHANGES, value={"max_beta": math.nan}),
    "a number for actions": _at("actions", value=4),
    "nothing given": _at("given", value={}),
    "text for a step": _at("pictured", value="soon"),
}


@pytest.mark.parametrize(
    ("name", "off"), [*((name, False) for name in FORGED), ("a weight below 0", True)]
)
def test_a_forged_watch_is_refused_in_one_line(stopped, name, off) -> None:
    (path,) = stopped.checkpoints.glob("final_*")
    payload = {**read(path).payload}
    FORGED[name](payload[STATE]["watch"])
    save(path, payload)
    with pytest.raises(InputError, match=r"^\S+\.ckpt: the watch over the posterior is not one"):
        prepare(path, {"disable_metrics_monitoring": off})


@pytest.mark.slow
def test_history_that_was_damaged_by_hand_is_begun_anew(store, stopped) -> None:
    for name in (HISTORY, LATEST):
        (stopped.posterior_metrics / name).write_bytes(b'{"looks": [3, {"step": "x"}]}')
    go_on(stopped.path, store, on_collapse="warn", max_epochs=6)
    looks = json.loads((stopped.posterior_metrics / HISTORY).read_bytes())["looks"]
    assert [(look["step"], look["split"]) for look in looks] == [(18, "train"), (18, "val")]


VARIANTS: dict[str, dict[str, object]] = {
    "two levels of one latent": {"levels": 2, "set_encoder": "attention", "latent_dim": 1},
    "chamfer": {"decoder": "chamfer"},
    "the original": {"prior": "standard", "bottleneck": True, "decoder": "chamfer", "levels": 2},
    "one subject at once": {"batch_size": 1},
    "no weight on KL": {"max_beta": 0.0},
}


def _strict(path: Path) -> Mapping[str, Any]:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    found: Mapping[str, Any] = json.loads(path.read_bytes(), parse_constant=refuse)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_model_leaves_valid_json_and_pictures(store, small, tmp_path, name) -> None:
    options = doomed(small, tmp_path, max_epochs=2, plot_every=3, **VARIANTS[name])
    fit(options, store, drawing(options))
    folder = first_run(options).posterior_metrics
    looks = _strict(folder / HISTORY)["looks"]
    assert {look["split"] for look in looks} == {"val", "train"}
    latest = _strict(folder / LATEST)
    assert latest["val"]["step"] == looks[-1]["step"]
    assert list(folder.glob("*.png"))


def test_a_posterior_that_is_no_number_ends_the_run_in_one_line(
    store, small, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(DiagGaussian, "kl", _no_number)
    with pytest.raises(NumericalError, match=r"not finite"):
        fit(doomed(small, tmp_path, monitor_every=1, plot_every=1), store, ignore)


def _no_number(q: DiagGaussian, p: DiagGaussian) -> Tensor:
    return q.mean * math.nan


def test_tensorboard_reads_scalars_and_histograms_of_the_watch(warned) -> None:
    events = EventAccumulator(str(warned.logs), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    active = [event.step for event in events.Scalars("val_active_units_level_1")]
    assert active == list(range(3, MOST + 1, 3))
    histograms = events.Histograms("val_kl_dimensions_level_1")
    assert [event.step for event in histograms] == active
    assert histograms[-1].histogram_value.num == 2
    tags = set(events.Tags()["scalars"])
    assert {"train_kl_level_1", "legacy/val_variance", "val_information_high_level_1"} <= tags


def test_a_picture_that_cannot_be_drawn_is_said_once_and_the_run_goes_on(
    store, small, tmp_path, monkeypatch, capsys
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(collapse_view, "draw", full)
    options = doomed(small, tmp_path, max_epochs=2, plot_every=3)
    view = CollapseView(options, Output("train"))

    def sink(record: object) -> None:
        if isinstance(record, Checked):
            view.show(record, tmp_path, "run")

    assert fit(options, store, sink) is not None
    assert capsys.readouterr().err.count("no picture of the posterior was drawn") == 1


def test_a_validation_of_one_subject_is_watched_without_what_cannot_be_known(
    small, tmp_path
) -> None:
    store = write_store(tmp_path, sizes={"train": 21, "validation": 1, "test": 10})
    options = doomed(small, tmp_path, max_epochs=1)
    result = fit(options, store, drawing(options))
    assert result is not None
    assert result.posterior[0].verdict == "warming"
    latest = _strict(first_run(options).posterior_metrics / LATEST)["val"]["measures"]["levels"][0]
    assert latest["information"] is None
    assert latest["decoder_gap"] is None
    records = read_log(first_run(options).metrics).records
    assert not any("val_information_level_1" in record for record in records)
