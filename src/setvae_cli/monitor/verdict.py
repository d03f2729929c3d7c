"""Verdicts: rules that held for K checks in a row, a level at a time.

    warming -> (collapsed | shrinking | partial | healthy)      and back, each after K checks

A verdict is a function of the checks so far: `judge` folds them, `Judge` keeps the fold's memory
for a run that goes on and for a checkpoint. A check on fewer than 10 sets a dimension changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from setvae_cli.monitor import rules
from setvae_cli.monitor.check import Check, LevelCheck
from setvae_cli.monitor.rules import NoteName, State

WINDOW = 50


@dataclass(frozen=True)
class Note:
    """Something worth knowing beside a state.

    Attributes:
        name: What it is.
        rule: The rule in words, with figures.
        since: First step of the checks in a row.
        try_next: What to try.
    """

    name: NoteName
    rule: str
    since: int
    try_next: str


@dataclass(frozen=True)
class Verdict:
    """What is said about one level.

    Attributes:
        level: From 1.
        state: warming, collapsed, shrinking, partial or healthy.
        rule: The rule that fired, in words.
        figures: The figures of the check it was last confirmed by.
        since: First step of the checks in a row that led to it.
        step: Step of the check.
        try_next: What to try; empty where nothing has to be.
        notes: Beside the state.
        changed: Whether the state is another one than at the check before, or this is the first.
    """

    level: int
    state: State
    rule: str
    figures: str
    since: int
    step: int
    try_next: str
    notes: tuple[Note, ...]
    changed: bool


@dataclass(frozen=True)
class Streak:
    """Checks in a row at which a rule held.

    Attributes:
        checks: How many.
        since: Step of the first.
        rule: Its words at the last.
    """

    checks: int
    since: int
    rule: str


@dataclass(frozen=True)
class Memory:
    """What has to be remembered of a level's checks.

    Attributes:
        state, rule, since: The verdict so far.
        figures: Those of the last judged check.
        streaks: Of states and notes that hold now.
        active: Active units of recent judged checks, oldest first.
        peak: Most active units since warming.
    """

    state: State
    rule: str
    since: int
    figures: str = ""
    streaks: Mapping[str, Streak] = field(default_factory=dict)
    active: tuple[int, ...] = ()
    peak: int = 0


def begin(step: int) -> Memory:
    """The memory before any check of a level."""
    return Memory("warming", "fewer than 3 checks since beta was full", step)


def advance(memory: Memory, check: LevelCheck, step: int, *, warming: bool, window: int) -> Memory:
    """The memory after one more check of a level."""
    if warming:
        since = memory.since if memory.state == "warming" else step
        return Memory("warming", "beta is below its target", since, rules.figures(check))
    if not rules.enough_sets(check):
        told = replace(memory, rule=rules.too_few_sets(check))
        return told if memory.state == "warming" else memory
    peak = max(memory.peak, check.active)
    states, notes = rules.state_rules(check, memory.active, peak), rules.note_rules(check, peak)
    streaks: dict[str, Streak] = {
        name: _longer(memory.streaks.get(name), rule, step)
        for name, rule in [*states.items(), *notes.items()]
    }
    state, rule, since = memory.state, memory.rule, memory.since
    for candidate in rules.PRECEDENCE:
        streak = streaks.get(candidate)
        if streak is not None and streak.checks >= rules.CHECKS_IN_A_ROW:
            since = since if candidate == state else streak.since
            state, rule = candidate, f"{streak.rule}, {rules.CHECKS_IN_A_ROW} checks"
            break
    active = (*memory.active, check.active)[-window:]
    return Memory(state, rule, since, rules.figures(check), streaks, active, peak)


class Judge:
    """Goes through the checks of a run.

    Args:
        window: Checks over which active units may not fall by 20 %.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self.window = window
        self._memories: dict[int, Memory] = {}

    def observe(self, check: Check) -> tuple[Verdict, ...]:
        """Take note of a check; the verdict on each of its levels."""
        verdicts = []
        for level in check.levels:
            first = level.level not in self._memories
            before = self._memories.get(level.level, begin(check.step))
            after = advance(before, level, check.step, warming=check.warming, window=self.window)
            self._memories[level.level] = after
            changed = first or before.state != after.state
            verdicts.append(_verdict(level.level, after, check.step, changed=changed))
        return tuple(verdicts)

    def verdicts(self, step: int) -> tuple[Verdict, ...]:
        """What was said last, of each level that was looked at."""
        return tuple(
            _verdict(level, memory, step, changed=False) for level, memory in self._memories.items()
        )

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {str(level): asdict(memory) for level, memory in self._memories.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], window: int = WINDOW) -> Judge:
        """The judge that `state` described.

        Raises:
            ValueError: None of ours has such a state.
        """
        judge = cls(window)
        for level, memory in state.items():
            known = TypeAdapter(Memory).validate_python(memory)
            judge._memories[int(level)] = replace(known, active=known.active[-window:])
        return judge


def judge(history: Sequence[Check], window: int = WINDOW) -> tuple[Verdict, ...]:
    """The verdicts after a history of checks; none without one."""
    found: tuple[Verdict, ...] = ()
    going = Judge(window)
    for check in history:
        found = going.observe(check)
    return found


def _longer(streak: Streak | None, rule: str, step: int) -> Streak:
    if streak is None:
        return Streak(1, step, rule)
    return Streak(streak.checks + 1, streak.since, rule)


def _verdict(level: int, after: Memory, step: int, *, changed: bool) -> Verdict:
    notes = []
    for name in rules.NOTES:
        streak = after.streaks.get(name)
        if streak is not None and streak.checks >= rules.CHECKS_IN_A_ROW:
            notes.append(Note(name, streak.rule, streak.since, rules.TRY[name]))
    return Verdict(
        level=level,
        state=after.state,
        rule=after.rule,
        figures=after.figures,
        since=after.since,
        step=step,
        try_next=rules.TRY[after.state],
        notes=tuple(notes),
        changed=changed,
    )
