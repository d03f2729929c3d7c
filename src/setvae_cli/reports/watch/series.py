"""A curve of any length in bounded memory: neighbours as their first, last, low and high."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST = 1024  # buckets: several for each dot of the widest terminal


@dataclass(slots=True)
class Bucket:
    """Values that stand next to each other.

    Attributes:
        first_step, last_step: Their steps.
        first, last: The outer values.
        low, high: The extreme ones.
    """

    first_step: float
    last_step: float
    first: float
    last: float
    low: float
    high: float

    def put(self, step: float, value: float) -> None:
        """Take in the next value."""
        self.last_step = step
        self.last = value
        if value < self.low:
            self.low = value
        elif value > self.high:
            self.high = value

    def take(self, other: Bucket) -> None:
        """Take in those that follow."""
        self.last_step, self.last = other.last_step, other.last
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)


class Series:
    """One curve, in the order of its steps.

    Attributes:
        buckets: At most `MOST`.
        highest, lowest: Value and step of the extremes; None without a value.
    """

    def __init__(self) -> None:
        self.buckets: list[Bucket] = []
        self.highest: tuple[float, int] | None = None
        self.lowest: tuple[float, int] | None = None
        self._every, self._held = 1, 1

    def add(self, step: int, value: float) -> None:
        """Append a value."""
        if self.highest is None or value > self.highest[0]:
            self.highest = value, step
        if self.lowest is None or value < self.lowest[0]:
            self.lowest = value, step
        if self._held < self._every:
            self.buckets[-1].put(step, value)
            self._held += 1
            return
        self.buckets.append(Bucket(step, step, value, value, value, value))
        self._held = 1
        if len(self.buckets) > MOST:
            self._halve()

    @property
    def last(self) -> float | None:
        """The newest value."""
        return self.buckets[-1].last if self.buckets else None

    def _halve(self) -> None:
        """Join pairs; there is one more than `MOST`, which is even: the newest stays alone."""
        for left, right in zip(self.buckets[:-1:2], self.buckets[1::2], strict=True):
            left.take(right)
        del self.buckets[1::2]
        self._every *= 2


def steps_of(series: Sequence[Series]) -> tuple[float, float] | None:
    """First and last step of several curves; None without a value."""
    held = [each.buckets for each in series if each.buckets]
    if not held:
        return None
    return min(each[0].first_step for each in held), max(each[-1].last_step for each in held)
