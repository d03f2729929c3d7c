"""`setvae resume`: a run goes on where its newest good checkpoint left it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from setvae_cli import numbers
from setvae_cli.cli import comparing, options
from setvae_cli.cli.comparing import is_comparison
from setvae_cli.cli.output import Output
from setvae_cli.cli.processes import follows, resumed_devices
from setvae_cli.cli.slurm import requeued_when_asked
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.settings.command import ResumeSettings, TrainSettings

if TYPE_CHECKING:
    from setvae_cli.training.changes import Changes
    from setvae_cli.training.resumption import Resumption

WIDTH = 80 - len("checkpoint  ")


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, ResumeSettings, run)


def run(settings: ResumeSettings, output: Output) -> None:
    """Go on with a run, in its folder, from its newest checkpoint that verifies.

    RUN_OR_CKPT is a run's folder, or a checkpoint in it, or the folder of a comparison; nothing:
    the latest run, or an interrupted comparison that began later. A run that goes on, also in the
    middle of an epoch, ends as one that was never stopped.

    Options replace the run's settings from now on: epochs, batches, learning rate, weights of the
    loss, precision, devices, workers. What is left out stays as the run has it, whatever default
    stands in brackets. The model, the data and the seed of a run are fixed.
    """
    if settings.run_or_ckpt and settings.checkpoint:
        raise SettingsError("is given beside RUN_OR_CKPT", where="--checkpoint", mend="keep one")
    if follows(settings, output, resumes=True):
        return
    named = settings.run_or_ckpt or settings.checkpoint or settings.resume_from_checkpoint
    path = Path(named) if named else latest_begun(settings, output)
    go_on(path, settings, output)


def latest_begun(settings: TrainSettings, output: Output) -> Path:
    """The latest run below the output folder, or a comparison that began later and did not end.

    They are of the name given, if any; it is said which it is.

    Raises:
        InputError: There is none.
    """
    from setvae_cli.cli.precompute import shown
    from setvae_cli.runs.folder import latest
    from setvae_cli.training.compare.folder import interrupted

    place = settings.run.output_dir, settings.given().get("name", "*")
    run, comparison = latest(*place), interrupted(*place)
    if comparison is not None and (run is None or run.started < comparison.started):
        output.say(f"No run named: going on with the latest comparison, {shown(comparison.path)}.")
        return comparison.path
    if run is None:
        where, mend = str(place[0]), "name one, or see setvae train --help"
        raise InputError("holds no run and no interrupted comparison", where=where, mend=mend)
    output.say(f"No run named: going on with the latest, {shown(run.path)}.")
    return run.path


def go_on(path: Path, settings: TrainSettings, output: Output) -> None:
    """Resume the run that a path names, with what is given in place of its own settings."""
    if path.name == comparing.BESIDE and not is_comparison(path):
        path = path.parent  # the run that it is of
    if is_comparison(path):
        comparing.go_on(path, _replacing(settings), output)
        return
    with requeued_when_asked(settings.run.requeue, output):
        from setvae_cli.training.resumption import prepare

        resumption = prepare(path, _replacing(settings))
    with requeued_when_asked(resumption.settings.run.requeue, output):
        output.facts(heading(resumption))
        output.say()
        from setvae_cli.cli.train import train

        train(resumption.settings, output, resumption)


def _replacing(settings: TrainSettings) -> dict[str, Any]:
    """What the person gave, without what only says which run is meant."""
    meant = ("run_or_ckpt", "checkpoint", "resume", "resume_from_checkpoint", "output_dir", "name")
    given = {name: value for name, value in settings.given().items() if name not in meant}
    devices = resumed_devices(settings)
    return given if devices is None else {**given, "devices": devices}


def heading(resumption: Resumption) -> list[tuple[str, str]]:
    """The checkpoint, what was refused, what changes, and whether the course stays exact."""
    name, step = resumption.path.name, numbers.count(resumption.step)
    parts = [name, "verified", *([] if "step=" in name else [f"step {step}"]), resumption.place]
    refused = [f"{one.path.name} {one.why}" for one in resumption.chosen.refused]
    return [
        *_wrapped("checkpoint", ", ".join(parts)),
        *(row for text in refused for row in _wrapped("refused", text)),
        *_changes(resumption.changes),
    ]


def _changes(changes: Changes) -> list[tuple[str, str]]:
    listed = ", ".join(f"{name} {_word(old)} -> {_word(new)}" for name, old, new in changes.listed)
    reasons = "; ".join(changes.inexact)
    exact = f"exact continuation: {f'no, {reasons}' if reasons else 'yes'}"
    beside = f"{listed or 'nothing':<32} {exact}"
    if len(beside) <= WIDTH:
        return [("changed", beside)]
    return [*_wrapped("changed", listed), *(("", text) for _, text in _wrapped("", exact))]


def _wrapped(key: str, text: str) -> list[tuple[str, str]]:
    """A fact in lines of 80 columns, the key beside the first."""
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [(key if number == 0 else "", line) for number, line in enumerate(lines)]


def _word(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
