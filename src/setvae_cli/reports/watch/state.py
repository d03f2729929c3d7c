"""Whether a run goes on, as far as its files can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from setvae_cli import numbers
from setvae_cli.reports.watch.lines import ago

Word = Literal[
    "waiting", "running", "measuring", "silent", "unclear", "interrupted", "error", "stopped",
    "finished",
]  # fmt: skip
ENDED: tuple[Word, ...] = ("interrupted", "error", "stopped", "finished")
QUIET_GAPS, QUIET_SECONDS, UNKNOWN_SECONDS = 3.0, 30.0, 120.0
SKEW_SECONDS = 5.0


@dataclass(frozen=True)
class Evidence:
    """What is known.

    Attributes:
        step: Of the newest record.
        logged: Whether any scalar was.
        tested: Whether test figures were, after training.
        collapsed: Step at which `--on-collapse stop` ended training; None where it did not.
        stopped: Kind and step of a stop that nothing was logged after; None without one.
        final_step: Step at which training ended; None before.
        changed: Seconds since the log was written, by both clocks; below 0 they differ.
        grown: Seconds since it was seen to grow from here; None where it was not.
        typical_gap, longest_gap: Seconds between records; None before the second.
    """

    step: int
    logged: bool
    tested: bool
    collapsed: int | None
    stopped: tuple[str, int] | None
    final_step: int | None
    changed: float
    grown: float | None
    typical_gap: float | None
    longest_gap: float | None


@dataclass(frozen=True)
class State:
    """What can be said.

    Attributes:
        word: In one.
        told: In a sentence.
        age: Seconds since the last record; None where clocks do not let it be known.
        clock: What is wrong with a clock; empty for nothing.
    """

    word: Word
    told: str
    age: float | None
    clock: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected."""
        return self.word in ENDED


def tell(known: Evidence) -> State:
    """The state that the evidence allows to be told."""
    age, clock = _age(known)
    when = "" if age is None else f" {ago(age)} ago"
    if known.tested and known.collapsed is not None and known.collapsed >= known.step:
        at = numbers.count(known.collapsed)
        told = f"stopped at step {at}{when}: posterior collapse (--on-collapse stop)"
        return State("stopped", told, age, clock)
    if known.tested:
        return State("finished", f"finished{when}", age, clock)
    if known.stopped is not None and known.stopped[1] >= known.step:
        return _stopped(known.stopped, when, age, clock)
    if age is None:
        return State("unclear", "whether it runs cannot be told yet", age, clock)
    if age > _patience(known):
        return State("silent", _silence(known, age), age, clock)
    if not known.logged:
        return State("waiting", "waits: nothing was logged yet", age, clock)
    if known.final_step is not None and known.final_step >= known.step:
        return State("measuring", "trained to its end, test figures are due", age, clock)
    return State("running", f"running, last record{when}", age, clock)


def out_of_reach(state: State) -> State:
    """What can be said when the log that showed a state cannot be read any more."""
    when = "" if state.age is None else f"; its last record was written {ago(state.age)} ago"
    return State("unclear", f"whether it runs cannot be told: its log is gone{when}", state.age)


def _age(known: Evidence) -> tuple[float | None, str]:
    """Seconds since the last record, and what is wrong with a clock."""
    if known.changed < -SKEW_SECONDS:
        ahead = ago(-known.changed)
        return known.grown, f"the log was written {ahead} in the future: clocks differ"
    if known.grown is not None and known.changed - known.grown > SKEW_SECONDS:
        behind = ago(known.changed - known.grown)
        return known.grown, f"the log's clock is {behind} behind this one"
    return max(known.changed, 0.0), ""


def _stopped(stopped: tuple[str, int], when: str, age: float | None, clock: str) -> State:
    kind, step = stopped
    if kind == "error":
        told = f"stopped by an error at step {numbers.count(step)}{when}"
        return State("error", told, age, clock)
    return State("interrupted", f"interrupted at step {numbers.count(step)}{when}", age, clock)


def _patience(known: Evidence) -> float:
    """Seconds without a record that are nothing special for this run."""
    if known.longest_gap is None:
        return UNKNOWN_SECONDS
    return max(QUIET_SECONDS, QUIET_GAPS * known.longest_gap)


def _silence(known: Evidence, age: float) -> str:
    told = f"silent for {ago(age)}"
    if known.typical_gap is None or known.longest_gap is None:
        return told if known.logged else f"{told}, nothing was logged yet"
    rhythm = f"{_short(known.typical_gap)} on average, {_short(known.longest_gap)} at most"
    return f"{told}; records were {rhythm} apart"


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else ago(seconds)
