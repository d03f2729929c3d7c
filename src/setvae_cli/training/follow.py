"""What a process of a run does that is not the first: it computes its share, and says nothing."""

from __future__ import annotations

from setvae_cli.training.fit import fit_along
from setvae_cli.training.invitation import accepted
from setvae_cli.training.part import Part
from setvae_cli.training.team import Team


def follow(part: Part) -> None:
    """Take part in the run that the first process tells of; write nothing.

    Raises:
        PartnerLost: Another process died.
        NumericalError: A loss or a gradient is not finite, which the first process says too.
        Terminated: A signal asked to stop.
    """
    team = Team(part)
    told = team.listen()
    if told is None:
        return
    settings, store, resumption = accepted(told)
    fit_along(settings, store, resumption, team)
