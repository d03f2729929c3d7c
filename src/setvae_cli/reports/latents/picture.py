"""A figure of panels, drawn wide for paper and with its panels below one another for telephones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from setvae_cli.reports import figures
from setvae_cli.reports.figures import PANEL, Key

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Paint = Callable[["Axes"], None]
"""Fills one panel."""


@dataclass(frozen=True)
class Picture:
    """A figure as two PNG files.

    Attributes:
        name: Its file name without the suffix.
        title: What it shows.
        told: What it shows, for whoever cannot see it.
        wide: For paper and wide screens.
        narrow: The same with its panels below one another.
    """

    name: str
    title: str
    told: str
    wide: bytes
    narrow: bytes


def render(
    paints: Sequence[Paint],
    columns: int,
    title: str,
    footer: str,
    keys: Sequence[Key] = (),
    size: tuple[float, float] = PANEL,
) -> bytes:
    """Draw panels in so many columns."""
    with figures.style():
        figure, axes = figures.panels(len(paints), columns, title, footer, keys, size=size)
        for paint, place in zip(paints, axes, strict=True):
            paint(place)
        return figures.as_png(figure)
