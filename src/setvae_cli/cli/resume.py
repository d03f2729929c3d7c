"""`setvae resume`: a run goes on where its newest good checkpoint left it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from setvae_cli.cli import options
from setvae_cli.cli.output import Output
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.settings.command import ResumeSettings, TrainSettings

if TYPE_CHECKING:
    from setvae_cli.training.resumption import Resumption


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, ResumeSettings, run)


def run(settings: ResumeSettings, output: Output) -> None:
    """Go on with a run, in its folder, from its newest checkpoint that verifies.

    RUN_OR_CKPT is a run's folder, or a checkpoint in it; nothing: the latest run. Options replace
    the run's settings from now on: epochs, batch size, learning rate, precision, devices, workers,
    weights of the loss. The model, the data and the seed of a run are fixed.
    """
    if settings.run_or_ckpt and settings.checkpoint:
        raise SettingsError("is given beside RUN_OR_CKPT", where="--checkpoint", mend="keep one")
    named = settings.run_or_ckpt or settings.checkpoint
    path = Path(named) if named else latest_run(settings, output)
    go_on(path, settings, output)


def latest_run(settings: TrainSettings, output: Output) -> Path:
    """The latest run below the output folder, which is named.

    Raises:
        InputError: There is none.
    """
    from setvae_cli.cli.precompute import shown
    from setvae_cli.runs.folder import latest

    found = latest(settings.run.output_dir)
    if found is None:
        where = str(settings.run.output_dir)
        raise InputError("holds no run", where=where, mend="name one, or see setvae train --help")
    output.say(f"No run named: going on with the latest, {shown(found.path)}.")
    return found.path


def go_on(path: Path, settings: TrainSettings, output: Output) -> None:
    """Resume the run that a path names, with what is given in place of its own settings."""
    from setvae_cli.training.resumption import prepare

    resumption = prepare(path, _replacing(settings))
    output.facts(heading(resumption))
    output.say()
    from setvae_cli.cli.train import train

    train(resumption.settings, output, resumption)


def _replacing(settings: TrainSettings) -> dict[str, Any]:
    """What the person gave, without what only says which run is meant."""
    meant = ("run_or_ckpt", "checkpoint", "resume", "resume_from_checkpoint", "output_dir", "name")
    return {name: value for name, value in settings.given().items() if name not in meant}


def heading(resumption: Resumption) -> list[tuple[str, str]]:
    """The checkpoint, what was refused, what changes, and whether the course stays exact."""
    from setvae_cli.numbers import count

    position = resumption.saved_position
    place = f"epoch {position.epoch + 1}, batch {position.batch + 1}"
    stood = f"step {count(resumption.step)}, {place}"
    lines = [("checkpoint", f"{resumption.path.name}, verified, {stood}")]
    for refused in resumption.chosen.refused:
        lines.append(("refused", f"{refused.path.name} {refused.why}"))
    changes = resumption.changes
    listed = ", ".join(f"{name} {_word(old)} -> {_word(new)}" for name, old, new in changes.listed)
    lines.append(("changed", listed or "nothing"))
    lines.append(("exact", f"no: {'; '.join(changes.inexact)}" if changes.inexact else "yes"))
    return lines


def _word(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
