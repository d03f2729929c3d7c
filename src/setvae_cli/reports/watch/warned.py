"""Warnings as lines, the newest first."""

from __future__ import annotations

from collections.abc import Sequence

from setvae_cli import numbers
from setvae_cli.reports.watch.lines import HEAD, WARN, Line, clipped, wrapped
from setvae_cli.reports.watch.notices import Notice


def warnings_block(notices: Sequence[Notice], columns: int, rows: int | None) -> list[Line]:
    """What there is to know; empty for nothing.

    Args:
        notices: In the order in which they came.
        columns: Width.
        rows: Most lines; None for all.
    """
    if not notices:
        return []
    ordered = sorted(notices, key=lambda one: one.last_step, reverse=True)
    lines: list[Line] = [[("Warnings", HEAD)]]
    for place, one in enumerate(ordered):
        told = _lines(one, columns)
        if rows is not None and place:
            told = [clipped([*told[0], *((" …", None),) * (len(told) > 1)], columns)]
        later = len(ordered) - place - 1
        if rows is not None and place and len(lines) + len(told) + (later > 0) > rows:
            lines.append([(f"and {later + 1} more", None)])
            break
        lines += told
    return lines


def _lines(one: Notice, columns: int) -> list[Line]:
    style = WARN if one.bad else None
    head = f"step {numbers.count(one.step)}  "
    lines = wrapped((head, style), f"{one.what}{_told(one)}", columns)
    if one.try_next:
        lines += wrapped((" " * len(head) + "try ", style), one.try_next, columns)
    return lines


def _told(one: Notice) -> str:
    told = f" {one.told}" if one.told.startswith(("since", "again")) else f": {one.told}"
    if one.times > 1:
        told += f" ({one.times} times until step {numbers.count(one.last_step)})"
    elif one.last_step != one.step:
        told += f" (until step {numbers.count(one.last_step)})"
    return told if one.told else told.lstrip(":")
