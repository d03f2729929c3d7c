"""What a look at latents says in words: footers, titles, and what one check says of each level."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.latents import Latents
from setvae_cli.monitor import rules
from setvae_cli.monitor.check import LevelCheck
from setvae_cli.monitor.measures import LevelMeasures, Measures
from setvae_cli.monitor.verdict import Note, Verdict
from setvae_cli.numbers import count


def footer(latents: Latents, *more: str) -> str:
    """Counts and date of what is shown, parts divided by ` · `."""
    begun = f", begun {latents.begun}" if latents.begun else ""
    subjects = len(latents.subjects.row)
    seen = max(latents.sets_seen, len(latents.sets.row))
    of = f" of {count(latents.subjects_in_split)}" if subjects < latents.subjects_in_split else ""
    parts = [
        f"{latents.run}{begun}",
        f"{latents.checkpoint}, step {count(latents.step)}",
        f"{latents.split}: {count(subjects)}{of} subjects, {count(seen)} sets",
    ]
    return " · ".join([*parts, *more])


def verdicts(latents: Latents) -> tuple[Verdict, ...]:
    """What the rules of the monitor say of this one check.

    Rules that need the course of a run (shrinking, active units against their own peak) cannot
    fire. A level that too few sets were seen of has no verdict, as one that no elbo trained.
    """
    return tuple(_verdicts(latents.measures, latents.step)) if latents.keeps_elbo else ()


def unjudged(latents: Latents, level: LevelMeasures) -> str:
    """Why a level has no verdict, one clause."""
    if not latents.keeps_elbo:
        return "trained without elbo, so that nothing held it near its prior"
    needed = count(rules.SETS_A_DIMENSION * level.latent)
    return f"{count(level.sets)} sets are too few, a verdict needs {needed}"


def of_sets(latents: Latents, values: NDArray[np.generic]) -> NDArray[np.generic]:
    """A value of each set from one of each subject."""
    return values[np.searchsorted(latents.subjects.row, latents.sets.row)]


def _verdicts(measures: Measures, step: int) -> Iterator[Verdict]:
    for level in measures.levels:
        check = LevelCheck.of(level)
        if rules.enough_sets(check):
            yield _verdict(level, check, step)


def _verdict(level: LevelMeasures, check: LevelCheck, step: int) -> Verdict:
    holding = rules.state_rules(check, (), check.active)
    state = next(state for state in rules.PRECEDENCE if state in holding)
    notes = rules.note_rules(check, check.active)
    return Verdict(
        level=level.level,
        state=state,
        rule=holding[state],
        figures=rules.figures(check),
        since=step,
        step=step,
        try_next=rules.TRY[state],
        notes=tuple(Note(name, rule, step, rules.TRY[name]) for name, rule in notes.items()),
        changed=False,
    )
