"""Timing of work that repeats, and versions of it that take turns.

    round 1: peak, base at 1, 4, ..., reference; peak, original at 1, 4, ...
    round 2: ...

What the machine does beside them meets all versions alike, and nothing warms caches for the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Visit:
    """What was done in one timed stretch.

    Attributes:
        elements: Elements trained on.
        flops: Analytic FLOPs of it.
        seconds: How long it took.
    """

    elements: int
    flops: int
    seconds: float


def timed(
    once: Callable[[], tuple[int, int]],
    device: str,
    *,
    least_seconds: float = 0.0,
    least_times: int = 1,
) -> Visit:
    """Repeat some work and time it as a whole; a GPU is waited for before and after, not between.

    Args:
        once: Does it once and says how many elements and FLOPs that were.
        device: `cpu` or `cuda`.
        least_seconds, least_times: The work is repeated until both are reached.
    """
    wait = torch.cuda.synchronize if device == "cuda" else _nothing
    elements = flops = times = 0
    wait()
    began = time.perf_counter()
    while times < least_times or time.perf_counter() - began < least_seconds:
        more_elements, more_flops = once()
        elements, flops, times = elements + more_elements, flops + more_flops, times + 1
    wait()
    return Visit(elements, flops, time.perf_counter() - began)


def _nothing() -> None:
    """A CPU is not waited for."""


@dataclass(frozen=True)
class Version:
    """Something that takes turns with others.

    Attributes:
        name: In words, for progress.
        visit: Times it once.
        expected_seconds: What a visit takes, about.
        most_seconds: It takes turns for about so long, but three times at least.
        least_visits: Turns that it has in any case.
    """

    name: str
    visit: Callable[[], Visit]
    expected_seconds: float
    most_seconds: float
    least_visits: int = 3


def turns(version: Version, rounds: int) -> int:
    """In how many rounds a version takes part.

    >>> slow = Version("slow", lambda: Visit(1, 1, 9.0), 9.0, 20.0)
    >>> turns(slow, 2), turns(slow, 7)
    (2, 3)
    """
    affordable = int(version.most_seconds / max(version.expected_seconds, 1e-9))
    return min(rounds, max(version.least_visits, affordable))


def interleave(
    versions: Sequence[Version],
    rounds: int,
    seconds: float,
    *,
    say: Callable[[str, int, int], None],
) -> list[list[Visit]]:
    """Let versions take turns, round by round; a slow one sits out some rounds, evenly.

    Args:
        versions: In the order of a round.
        rounds: Rounds; each version takes part in `turns` of them.
        seconds: After so long the rounds end, when each version had one turn.
        say: Is told the version, the visits done and their total.

    Returns:
        The visits of each version.
    """
    visits: list[list[Visit]] = [[] for _ in versions]
    began, done = time.perf_counter(), 0
    total = sum(turns(version, rounds) for version in versions)
    for place in _schedule([turns(version, rounds) for version in versions], rounds):
        if visits[place] and time.perf_counter() - began > seconds:
            continue
        say(versions[place].name, done, total)
        visits[place].append(versions[place].visit())
        done += 1
    return visits


def _schedule(turns: Sequence[int], rounds: int) -> Iterator[int]:
    """Who comes next; everyone is in the first round.

    >>> list(_schedule([4, 2], 4))
    [0, 1, 0, 0, 1, 0]
    """
    for number in range(rounds):
        for place, own in enumerate(turns):
            if number == 0 or number * own // rounds > (number - 1) * own // rounds:
                yield place


def middle(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the distance of the highest from the lowest as a share of it.

    >>> middle([4.0, 5.0, 3.0])
    (4.0, 0.5)
    """
    centre = median(values)
    return centre, (max(values) - min(values)) / centre
