"""Runs that stop at a chosen instant and go on, and what has to be equal afterwards."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.metrics_log import read as read_log
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.fit import fit
from setvae_cli.training.records import Progress, Result
from setvae_cli.training.resumption import prepare

Sink = Callable[[object], None]


def ignore(record: object) -> None:
    """A listener that does not listen."""


def first_run(settings: TrainSettings) -> RunFolder:
    """The first run of its name."""
    return RunFolder(settings.run.output_dir / settings.run.name / "version_0")


def final_of(folder: RunFolder) -> Mapping[str, Any]:
    """What the final checkpoint holds."""
    (final,) = folder.checkpoints.glob("final_*")
    return read(final).payload


def log_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Records of metrics.jsonl without the clock."""
    records = read_log(folder.metrics).records
    return [{name: v for name, v in record.items() if name != "seconds"} for record in records]


def stop_at(step: int, number: int = signal.SIGTERM) -> Sink:
    """A listener that sends a signal in the middle of a run."""
    sent = []

    def sink(record: object) -> None:
        if isinstance(record, Progress) and record.step == step and not sent:
            sent.append(number)
            signal.raise_signal(number)

    return sink


def go_on(path: Path, store: Store, sink: Sink = ignore, **given: Any) -> Result | None:
    """Resume a run, or one of its checkpoints, as the command does."""
    resumption = prepare(path, given)
    resumption.check(store)
    return fit(resumption.settings, store, sink, resumption)


def before_call(
    patch: pytest.MonkeyPatch, owner: Any, name: str, number: int, act: Callable[[], None]
) -> None:
    """Do something at the instant of the nth call of a function, which then runs as always."""
    original, calls = getattr(owner, name), []

    def call(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            act()
        return original(*arguments, **named)

    patch.setattr(owner, name, call)


def assert_same_end(first: RunFolder, second: RunFolder) -> None:
    """Weights, moments of the optimizer, logs and chosen checkpoints are equal to the bit."""
    one, other = final_of(first), final_of(second)
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, tensor in one["state_dict"].items():
        assert torch.equal(tensor, other["state_dict"][name]), name
    moments = [payload["optimizer_states"][0]["state"] for payload in (one, other)]
    for number, state in moments[0].items():
        for name, value in state.items():
            assert torch.equal(value, moments[1][number][name]), (number, name)
    assert log_of(first) == log_of(second)
    assert [best.path.name for best in first.best()] == [best.path.name for best in second.best()]
