"""Steps that figures mark: verdicts that changed, and what was done about them, a letter each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from setvae_cli.numbers import count
from setvae_cli.reports.curves.series import Curves
from setvae_cli.reports.curves.told import shown

MOST_MARKS = 12
_HALF = MOST_MARKS // 2
_MOST_LETTERS = 40


@dataclass(frozen=True)
class Mark:
    """A marked step.

    Attributes:
        letter: What it is called in figures.
        step: Optimizer steps done.
        words: What happened there, for compared runs with the run's name.
        run: Place among compared runs; None for a run by itself.
    """

    letter: str
    step: int
    words: str
    run: int | None = None


def marks_of(runs: Sequence[Curves]) -> tuple[Mark, ...]:
    """The marked steps of runs that are drawn together; what happened at one step shares a letter.

    Of more than twelve, the first six and the last six are kept; reports list them all.
    """
    found: dict[tuple[int, int], list[str]] = {}
    for place, run in enumerate(runs):
        for event in shown(run.events):
            found.setdefault((place, event.step), []).append(event.short)
    items = sorted(found.items(), key=lambda item: item[0][1])
    kept = items if len(items) <= MOST_MARKS else [*items[:_HALF], *items[-_HALF:]]
    several = len(runs) > 1
    marks = []
    for number, ((place, step), told) in enumerate(kept):
        words = ", ".join(dict.fromkeys(told))
        words = f"{words} ({short(runs[place].name)})" if several else words
        marks.append(Mark(_letter(number), step, words, place if several else None))
    return tuple(marks)


def short(name: str) -> str:
    """A name that fits beside its line; its end tells versions apart."""
    return name if len(name) <= _MOST_LETTERS else f"...{name[3 - _MOST_LETTERS :]}"


def footnotes(marks: Iterable[Mark]) -> list[str]:
    """What each letter stands for."""
    return [f"{mark.letter} step {count(mark.step)}: {mark.words}" for mark in marks]


def _letter(number: int) -> str:
    return chr(ord("A") + number)
