"""Several processes of one run, as the command line meets them: who speaks, and who follows."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import typer

from setvae_cli.cli.failures import SIGNALS
from setvae_cli.cli.leftovers import forget_launcher
from setvae_cli.cli.output import Output
from setvae_cli.errors import NumericalError, Terminated
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.run import EVERY_DEVICE
from setvae_cli.training.part import Part, settled_part, started_part

if TYPE_CHECKING:
    from setvae_cli.training.team import Team


def follows(settings: TrainSettings, output: Output, *, resumes: bool) -> bool:
    """Compute along and be silent, where this process is not the first of its run.

    Args:
        settings: As given.
        output: Falls silent.
        resumes: Whether the run's own settings say on how many devices.

    Returns:
        Whether it did, and nothing is left to do.
    """
    run = settings.run
    part = started_part(os.environ, os.getppid(), run.num_nodes)
    trains_alone = run.devices == run.num_nodes == 1 and not resumes
    if not part.follows or (part.launched and trains_alone):
        return False
    output.hush()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # whoever started this held them back
    try:
        _follow(part)
    except Terminated as stop:
        raise Terminated(stop.number, told=True) from stop
    return True


def _follow(part: Part) -> None:
    from setvae_cli.training.follow import follow
    from setvae_cli.training.team import PartnerLost

    try:
        follow(part)
    except (NumericalError, PartnerLost) as error:  # the first process says it
        raise typer.Exit(1) from error


def team_of(settings: TrainSettings, output: Output) -> Team | None:
    """The processes of a run, seen from the first; None where it trains alone."""
    run = settings.run
    started = started_part(os.environ, os.getppid(), run.num_nodes)
    part = settled_part(started, run.devices, run.num_nodes)
    if not part.launched and (leftovers := forget_launcher(os.environ)):
        output.warn(leftovers)
    if part.alone:
        return None
    from setvae_cli.training.team import Team

    team = Team(part)
    if part.launched:
        team.meet()
    return team


def counted_devices(settings: TrainSettings) -> int:
    """Devices a machine; for `--devices auto` what a starter started, or every GPU."""
    run = settings.run
    if run.devices != EVERY_DEVICE:
        return run.devices
    started = _started_devices(run.num_nodes)
    if started is not None or run.device == "cpu":
        return started or 1
    from setvae_cli.training.machine import count_gpus

    return max(1, count_gpus())


def resumed_devices(settings: TrainSettings) -> int | None:
    """Devices a machine that a run goes on with; None: as many as it had."""
    if "devices" in settings.run.model_fields_set:
        return counted_devices(settings)
    return _started_devices(settings.run.num_nodes)


def _started_devices(nodes: int) -> int | None:
    part = started_part(os.environ, os.getppid(), nodes)
    return part.local_world if part.launched else None
