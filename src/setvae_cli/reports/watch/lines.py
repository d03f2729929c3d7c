"""Lines of parts with styles, for a terminal or a plain file, fitted to its columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

Part = tuple[str, str | None]
Line = list[Part]

HEAD, TRAIN, VALIDATION, WARN = "green", "cyan", "green", "yellow"
KEY = TRAIN
GAP = 3


def width(line: Sequence[Part]) -> int:
    """Columns that a line takes."""
    return sum(len(text) for text, _ in line)


def printable(line: Sequence[Part]) -> Line:
    """A line without what would move a cursor: names and words may come from files of others."""
    if all(text.isprintable() for text, _ in line):
        return list(line)
    return [("".join(x if x.isprintable() else "?" for x in text), style) for text, style in line]


def clipped(line: Sequence[Part], columns: int) -> Line:
    """A line of at most so many columns; what was cut is marked."""
    if width(line) <= columns:
        return list(line)
    kept, room = [], max(columns - 1, 0)
    for text, style in line:
        kept.append((text[:room], style))
        room -= len(text)
        if room <= 0:
            break
    return [*kept, ("…", None)] if columns > 0 else []


def padded(line: Sequence[Part], columns: int) -> Line:
    """A line of exactly so many columns."""
    short = clipped(line, columns)
    return [*short, (" " * (columns - width(short)), None)]


def flowed(facts: Iterable[Sequence[Part]], columns: int) -> list[Line]:
    """Facts side by side, as many to a line as fit."""
    lines: list[Line] = []
    for fact in facts:
        if lines and width(lines[-1]) + GAP + width(fact) <= columns:
            lines[-1] += [(" " * GAP, None), *fact]
        else:
            lines.append([*fact])
    return lines


def wrapped(head: Part, text: str, columns: int) -> list[Line]:
    """Text beside a head, over as many lines as it takes."""
    room = max(columns - len(head[0]), 10)
    first, *rest = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    lines: list[Line] = [[head, (first, None)]]
    return lines + [[(" " * len(head[0]) + more, None)] for more in rest]


def beside(left: Sequence[Line], right: Sequence[Line], columns: int, gap: int = GAP) -> list[Line]:
    """Two blocks next to each other, each half as wide."""
    half = (columns - gap) // 2
    height = max(len(left), len(right))
    rows = []
    for number in range(height):
        one = left[number] if number < len(left) else []
        other = right[number] if number < len(right) else []
        rows.append(
            [*padded(one, half), (" " * gap, None), *clipped(other, half)] if other else list(one)
        )
    return rows


def text_of(line: Sequence[Part]) -> str:
    """A line without its styles."""
    return "".join(text for text, _ in line).rstrip()


def in_ascii(line: Sequence[Part]) -> Line:
    """A line for where nothing else can be shown: dots become stars."""
    return [("".join(map(_in_ascii, text)), style) for text, style in line]


def _in_ascii(letter: str) -> str:
    known = {"│": "|", "…": "~"}
    return letter if letter.isascii() else known.get(letter, "*")


def ago(seconds: float) -> str:
    """A time that has passed, in its two largest units at most.

    >>> ago(3.2), ago(200), ago(7500), ago(400000)
    ('3 s', '3 min', '2 h 05 min', '4 days')
    """
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 2 * 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} days"
