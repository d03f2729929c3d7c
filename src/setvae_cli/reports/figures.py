"""The figure style of the product: what every picture of a report has in common.

Lines differ by colour, by dash and by lightness, so that they stay apart in grey and for people
who do not tell red from green (Okabe and Ito 2008). Every figure ends in a footer of what it shows:
counts and dates. Equal data gives equal bytes: nothing of the time, host or user is written.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from setvae_cli.numbers import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, PAPER = "#1d2733", "#5d6875", "#e3e7ec", "#ffffff"
DPI = 150
MOST_LINES = 8
_MOST_POINTS = 1500
PANEL = (4.6, 3.1)  # inches
_FOOTER, _TITLE, _MARGIN, _LINE = 0.36, 0.5, 0.14, 0.2  # inches
_KEY, _LETTER = 0.7, 0.078  # inches
_ROOM = {"left": 0.76, "right": 0.16, "bottom": 0.56, "top": 0.34}  # inches


@dataclass(frozen=True)
class Pen:
    """How one line is drawn.

    Attributes:
        colour: Of line and mark.
        dash: Pattern of the line.
        mark: Shape of its points.
    """

    colour: str
    dash: Any
    mark: str


PENS = (
    Pen("#0072b2", "-", "o"),
    Pen("#d55e00", (0, (5, 2)), "s"),
    Pen("#000000", (0, (1, 1.4)), "^"),
    Pen("#009e73", (0, (6, 1.6, 1.2, 1.6)), "D"),
    Pen("#cc79a7", "-", "v"),
    Pen("#56b4e9", (0, (5, 2)), "P"),
    Pen("#7a5c00", (0, (1, 1.4)), "X"),
    Pen("#8a8a8a", (0, (6, 1.6, 1.2, 1.6)), "*"),
)

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9.0,
    "axes.labelsize": 9.5,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.0,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


@dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Attributes:
        name: What the line is called.
        pen: How it is drawn.
        marked: Whether its points are marked.
    """

    name: str
    pen: Pen
    marked: bool = False

    @property
    def width(self) -> float:
        """What it takes, inches."""
        return _KEY + _LETTER * len(self.name)


@contextmanager
def style() -> Iterator[None]:
    """Context in which figures get the product's look, whatever the person's own settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def panels(
    number: int,
    columns: int,
    title: str,
    footer: str,
    keys: Sequence[Key] = (),
    *,
    size: tuple[float, float] = PANEL,
) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels under a title and one legend for all of them, with a footer.

    Args:
        number: Panels that will be filled.
        columns: Panels beside one another; 1 for narrow screens.
        title: What the figure shows.
        footer: Counts and dates of what it shows, parts divided by ` · `.
        keys: What each line is called.
        size: Width and height of a panel, inches.

    Returns:
        The figure, and its panels row by row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, number)
    rows, width = -(-number // columns), columns * size[0]
    key_rows = _key_rows(keys, width)
    lines = _footer_lines(footer, width)
    head, foot = _TITLE + _LINE * len(key_rows), _FOOTER + _LINE * (len(lines) - 1)
    height = rows * size[1] + head + foot
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    left = _MARGIN / width
    figure.text(left, 1 - _MARGIN / height, title, va="top", fontsize=13, fontweight="bold")
    _draw_keys(figure, key_rows, 1 - (_TITLE - 0.04) / height)
    bottom = 0.1 / height
    plain: Any = {"parse_math": False}  # names of folders are no formulas
    figure.text(left, bottom, "\n".join(lines), va="bottom", fontsize=8, color=FAINT, **plain)
    return figure, [
        _panel(figure, place % columns, foot + (rows - 1 - place // columns) * size[1], size)
        for place in range(number)
    ]


def _panel(figure: Figure, column: int, bottom: float, size: tuple[float, float]) -> Axes:
    """One panel with room for its title and labels, all in inches."""
    width, height = figure.get_size_inches()
    left, below = column * size[0] + _ROOM["left"], bottom + _ROOM["bottom"]
    wide = size[0] - _ROOM["left"] - _ROOM["right"]
    high = size[1] - _ROOM["bottom"] - _ROOM["top"]
    axes: Axes = figure.add_axes((left / width, below / height, wide / width, high / height))
    return axes


def _key_rows(keys: Sequence[Key], width: float) -> list[list[Key]]:
    """Keys in as many lines as they take."""
    rows: list[list[Key]] = []
    room = 0.0
    for key in keys:
        if not rows or key.width > room:
            rows.append([])
            room = width - 2 * _MARGIN
        rows[-1].append(key)
        room -= key.width
    return rows


def _draw_keys(figure: Figure, rows: list[list[Key]], top: float) -> None:
    """One legend under the title."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    for number, row in enumerate(rows):
        x, y = _MARGIN, top - _LINE * (number + 0.5) / height
        for key in row:
            ends = [x / width, (x + 0.18) / width, (x + 0.36) / width]
            pen, marker = key.pen, key.pen.mark if key.marked else None
            look = {"color": pen.colour, "linestyle": pen.dash, "marker": marker}
            figure.add_artist(Line2D(ends, [y, y, y], markevery=[1], **look))
            plain: Any = {"parse_math": False}  # names of folders are no formulas
            figure.text((x + 0.44) / width, y, key.name, va="center", fontsize=9, **plain)
            x += key.width


def _footer_lines(footer: str, width: float) -> list[str]:
    """The footer, broken between its parts where the figure is narrow."""
    most, lines = int(width * 15), [""]
    for part in footer.split(" · "):
        joined = f"{lines[-1]} · {part}" if lines[-1] else part
        if len(joined) > most and lines[-1]:
            lines.append(part)
        else:
            lines[-1] = joined
    return lines


def as_png(figure: Figure, compression: int = 6) -> bytes:
    """The bytes of a PNG; equal figures give equal bytes.

    Straight from the canvas: `savefig` would draw everything twice.

    Args:
        figure: Of `panels`.
        compression: Of zlib, 1 to 9.
    """
    buffer, canvas = io.BytesIO(), figure.canvas
    look: Any = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": compression}}
    canvas.print_png(buffer, **look)  # type: ignore[attr-defined]
    return buffer.getvalue()


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Title, axes with their units, and an x axis of counts from 0 on."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))


def absent(axes: Axes, title: str, why: str) -> None:
    """A panel that has nothing to show, and says so."""
    axes.set_title(title)
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", color=FAINT, transform=axes.transAxes)


def line(axes: Axes, x: NDArray[Any], y: NDArray[Any], pen: Pen, *, marked: bool = False) -> None:
    """One curve; above 1 500 points its mean, with a band from least to most of each stretch.

    Args:
        axes: Where it is drawn.
        x: Rising, `[points]`.
        y: `[points]`.
        pen: Its look.
        marked: Whether points are marked, where they are few enough to tell apart.
    """
    few = len(x) <= 40
    marker = pen.mark if (marked and few) or len(x) == 1 else None
    if len(x) > _MOST_POINTS:
        parts = np.array_split(np.arange(len(x)), _MOST_POINTS // 3)
        low, high, middle = (
            np.array([pick(y[part]) for part in parts]) for pick in (np.min, np.max, np.mean)
        )
        x, y = np.array([x[part].mean() for part in parts]), middle
        axes.fill_between(x, low, high, color=pen.colour, alpha=0.16, linewidth=0)
    axes.plot(x, y, color=pen.colour, linestyle=pen.dash, marker=marker)


def thinned(
    x: NDArray[Any], y: NDArray[Any], most: int = _MOST_POINTS
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A curve of at most so many points that keeps the least and the largest of each stretch."""
    if len(x) <= most:
        return x, y
    parts = np.array_split(np.arange(len(x)), most // 2)
    kept = sorted({int(part[pick(y[part])]) for part in parts for pick in (np.argmin, np.argmax)})
    return x[kept], y[kept]
