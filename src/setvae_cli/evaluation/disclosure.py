"""Which counts of a table may be shown, so that none below ten can be read or worked out.

    small       a group with a count below ten: the count is shown as <10, its figures are not
    beside it   a group whose counts would give those away by subtraction from the totals, which
                readers know: its figures are shown, its counts as 300+ for 300 to 399

Groups are set beside the small ones until every inexact count could be at least five numbers. Where
even all of them do not suffice, no count is shown at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from setvae_cli.numbers import count

LEAST = 10
_LEAST_CHOICES = 5
HIDDEN = "hidden"


@dataclass(frozen=True)
class Cells:
    """Counts of one group.

    Attributes:
        subjects: How many.
        positives: Of a class above 0.
        least: Of the rarest class.
    """

    subjects: int
    positives: int
    least: int

    @property
    def small(self) -> bool:
        """Whether one of the counts is below ten."""
        return min(self.subjects, self.least) < LEAST

    @property
    def counts(self) -> tuple[int, int, int]:
        """Subjects, positives and negatives."""
        return self.subjects, self.positives, self.subjects - self.positives


@dataclass(frozen=True)
class Shown:
    """What a table shows of one group.

    Attributes:
        subjects, positives: Texts; whole numbers, `<10`, `300+`, or `hidden`.
        figures: Whether figures of the group are shown.
        exact: Whether its counts are.
    """

    subjects: str
    positives: str
    figures: bool
    exact: bool


def shown(groups: Sequence[Cells]) -> tuple[Shown, ...]:
    """What a table of these groups shows of each; the totals of all are known.

    Where no group is small in its subjects, their numbers are shown exactly.
    """
    open_ = all(one.subjects >= LEAST for one in groups)
    inexact = {place for place, one in enumerate(groups) if one.small}
    while not _safe(groups, inexact, open_=open_):
        left = [place for place in range(len(groups)) if place not in inexact]
        if not left:
            return tuple(
                Shown(count(one.subjects) if open_ else HIDDEN, HIDDEN, not one.small, False)
                for one in groups
            )
        inexact.add(min(left, key=lambda place: groups[place].subjects))
    return tuple(_shown(one, place not in inexact, open_=open_) for place, one in enumerate(groups))


def bounds(number: int) -> tuple[int, int]:
    """What is told of a count that is not shown exactly, least and largest.

    >>> bounds(7), bounds(336)
    ((0, 9), (300, 399))
    """
    if number < LEAST:
        return 0, LEAST - 1
    scale = 10 ** (len(str(number)) - 1)
    return number // scale * scale, (number // scale + 1) * scale - 1


def _shown(one: Cells, exact: bool, *, open_: bool) -> Shown:
    subjects = count(one.subjects) if exact or open_ else _coarse(one.subjects)
    positives = count(one.positives) if exact else _coarse(one.positives)
    return Shown(subjects, positives, not one.small, exact)


def _coarse(number: int) -> str:
    return f"<{LEAST}" if number < LEAST else f"{count(bounds(number)[0])}+"


def _safe(groups: Sequence[Cells], inexact: set[int], *, open_: bool) -> bool:
    """Whether each inexact count could be several numbers, given the others and the totals."""
    hidden = [groups[place] for place in sorted(inexact)]
    counts = list(zip(*(one.counts for one in hidden), strict=True))
    ranges = list(zip(*(_ranges(one, open_=open_) for one in hidden), strict=True))
    first = 1 if open_ else 0
    return all(
        _holds(sum(some), list(ends))
        for some, ends in zip(counts[first:], ranges[first:], strict=True)
    )


def _ranges(one: Cells, *, open_: bool) -> tuple[tuple[int, int], ...]:
    """What is told of subjects, positives and, by both together, negatives."""
    subjects = (one.subjects, one.subjects) if open_ else bounds(one.subjects)
    positives = bounds(one.positives)
    low, high = max(0, subjects[0] - positives[1]), subjects[1] - positives[0]
    if not one.small:
        low = max(low, LEAST)
    elif min(one.subjects, one.positives) >= LEAST:
        high = min(high, LEAST - 1)  # the only count that hides the figures
    return subjects, positives, (low, high)


def _holds(total: int, ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether numbers of a known sum, each told by its range, stay open."""
    least, largest = (sum(ends) for ends in zip(*ranges, strict=True))
    return all(
        min(high, total - least + low) - max(low, total - largest + high) + 1 >= _LEAST_CHOICES
        for low, high in ranges
    )
