"""latent_correlation.png: active dimensions with each other, outcome, time and severity.

Each panel has a symmetric scale of its own, so that weak correlations are seen, and says which.
Colours of both signs are equally dark in grey: cells below zero bear a minus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.latents import Latents
from setvae_cli.numbers import count
from setvae_cli.reports import figures
from setvae_cli.reports.figures import GRID, INK, PAPER, PENS
from setvae_cli.reports.latents import colours
from setvae_cli.reports.latents.describe import footer, of_sets
from setvae_cli.reports.latents.picture import Paint, Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (4.9, 4.5)
_DARKEST = ("#003a5d", "#6e2f00")  # beyond the two pens, at the ends of the scale
_LIMITS = (0.1, 0.2, 0.3, 0.5, 0.75)
_MOST_ROWS = 32  # what numbers can be written beside
_MINUS_FROM = 0.25  # of the scale: fainter cells are read as zero
_STRONG = 0.45  # of the scale: from here on letters are white
Matrix = NDArray[np.float64]


def draw_correlation(latents: Latents) -> Picture:
    """Two panels a level: dimensions against each other, and against what is known."""
    paints: list[Paint] = []
    for number in range(len(latents.sets.levels)):
        mean, active = _means(latents, number)
        paints += [_each_other(mean, active, number + 1), _known(latents, mean, active)]
    title = "Correlation of latent dimensions"
    told = f"{title}: active dimensions of each level, with each other and with what is known."
    subjects = len(latents.subjects.row)
    chance = 1.96 / np.sqrt(max(subjects, 4))
    foot = footer(
        latents,
        "active dimensions only",
        "order: angle of the first two eigenvectors",
        "minus: below 0",
        f"with outcome or severity, under {chance:.2f} may be chance ({count(subjects)} subjects)",
    )
    wide, narrow = (render(paints, columns, title, foot, size=_SIZE) for columns in (2, 1))
    return Picture("latent_correlation", title, told, wide, narrow)


def correlation(left: NDArray[Any], right: NDArray[Any]) -> Matrix:
    """Pearson's, columns of one against columns of the other; NaN where a column does not vary."""
    scaled = []
    for values in (left, right):
        centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
        length = np.sqrt((centred**2).sum(0))
        scaled.append(centred / np.where(length > 0, length, np.nan))
    found: Matrix = scaled[0].T @ scaled[1]
    return found


def order(matrix: Matrix) -> NDArray[np.int64]:
    """Alike dimensions beside one another: by the angle of two eigenvectors (Friendly 2002)."""
    if len(matrix) < 3:
        return np.arange(len(matrix))
    _, vectors = np.linalg.eigh(np.nan_to_num(matrix))
    angle = np.arctan2(vectors[:, -2], vectors[:, -1])
    ranked = np.argsort(angle, kind="stable")
    gap = np.diff(np.append(angle[ranked], angle[ranked[0]] + 2 * np.pi)).argmax()
    return np.roll(ranked, -int(gap) - 1)


def _means(latents: Latents, number: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Posterior means of active dimensions in their order, and which dimensions they are."""
    active = np.flatnonzero(latents.measures.levels[number].dimensions.active)
    mean = latents.sets.levels[number].mean[:, active]
    if len(active) == 0:
        return mean, active
    placed = order(correlation(mean, mean))
    return mean[:, placed], active[placed]


def _each_other(mean: NDArray[Any], active: NDArray[np.int64], level: int) -> Paint:
    def paint(axes: Axes) -> None:
        title = f"Level {level}, {len(active)} active dimensions"
        if len(active) < 2:
            figures.absent(axes, title, "fewer than two dimensions are active")
            return
        matrix = correlation(mean, mean)
        np.fill_diagonal(matrix, np.nan)
        limit = _show(axes, matrix, active)
        places, names = _named(active)
        axes.set_xticks(places, names, fontsize=7.5, rotation=90)
        axes.set_title(f"{title}, scale ±{limit:g}")
        axes.set_xlabel("dimension")
        _minuses(axes, matrix, limit)

    return paint


def _known(latents: Latents, mean: NDArray[Any], active: NDArray[np.int64]) -> Paint:
    """Dimensions against outcome, hours and severity, over the sets where each is known."""
    title = "With what is known"

    def paint(axes: Axes) -> None:
        columns = _columns(latents)
        if not columns or len(active) == 0:
            figures.absent(axes, title, "nothing to compare")
            return
        found = []
        for value in columns.values():
            known = np.isfinite(value)
            found.append(correlation(mean[known], value[known][:, None])[:, 0])
        matrix = np.stack(found, 1)
        kept = _strongest(matrix)
        limit = _show(axes, matrix[kept], active[kept])
        axes.set_xticks(range(len(columns)), list(columns), fontsize=8, parse_math=False)
        most = f", strongest {len(kept)}" if len(kept) < len(active) else ""
        axes.set_title(f"{title}{most}, scale ±{limit:g}")
        _numbers(axes, matrix[kept], limit)

    return paint


def _columns(latents: Latents) -> dict[str, NDArray[Any]]:
    """What dimensions are compared with, NaN where unknown; only what varies."""
    label = of_sets(latents, latents.subjects.label).astype(np.float64)
    named = {"outcome": np.where(label < 0, np.nan, label)}
    for name, one in (
        ("hours", colours.hours(latents)),
        (latents.subjects.severity_name, colours.severity(latents)),
    ):
        if one is not None:
            named[name] = one.value
    return {name: value for name, value in named.items() if _varies(value)}


def _varies(value: NDArray[Any]) -> bool:
    known = value[np.isfinite(value)]
    return len(known) > 1 and float(known.std()) > 0


def _strongest(matrix: Matrix) -> NDArray[np.int64]:
    """Rows that numbers can be written beside, in their order."""
    largest = np.nan_to_num(np.abs(matrix)).max(1)
    return np.sort(np.argsort(-largest, kind="stable")[:_MOST_ROWS])


def limit_of(matrix: Matrix) -> float:
    """The end of a scale that is no larger than need be."""
    most = float(np.nan_to_num(np.abs(matrix)).max(initial=0))
    return next((limit for limit in _LIMITS if most <= limit), 1.0)


def _show(axes: Axes, matrix: Matrix, active: NDArray[np.int64]) -> float:
    """Cells and a bar; gives the end of the scale."""
    from matplotlib.colors import LinearSegmentedColormap

    limit = limit_of(matrix)
    shades = (_DARKEST[0], PENS[0].colour, PAPER, PENS[1].colour, _DARKEST[1])
    ramp = LinearSegmentedColormap.from_list("signed", shades).with_extremes(bad=GRID)
    look: Any = {"cmap": ramp, "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    shown = axes.imshow(matrix, aspect="auto", **look)
    axes.grid(visible=False)
    axes.set_yticks(*_named(active), fontsize=7.5)
    axes.set_ylabel("dimension")
    bar = axes.inset_axes((1.02, 0.0, 0.03, 1.0))
    ticks = [-limit, -limit / 2, 0, limit / 2, limit]
    axes.figure.colorbar(shown, cax=bar, ticks=ticks, format="%g")
    bar.tick_params(labelsize=7.5, length=2, pad=1)
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, 0.88 * width, height))
    return limit


def _named(active: NDArray[np.int64]) -> tuple[list[int], list[str]]:
    """Places and names of dimensions, as many as can be read."""
    places = list(range(0, len(active), -(-len(active) // _MOST_ROWS)))
    return places, [str(active[place]) for place in places]


def _minuses(axes: Axes, matrix: Matrix, limit: float) -> None:
    """A minus in each cell that is seen to be below zero."""
    cell = 72 * (_SIZE[1] - 0.9) / len(matrix)
    below = np.nan_to_num(matrix) / limit
    for strong, colour in ((False, INK), (True, PAPER)):
        y, x = np.nonzero((below < -_MINUS_FROM) & ((below < -_STRONG) == strong))
        look: Any = {"marker": "_", "linewidths": 0.8, "color": colour}
        axes.scatter(x, y, s=(0.45 * cell) ** 2, **look)


def _numbers(axes: Axes, matrix: Matrix, limit: float) -> None:
    """The correlation in each cell, with its sign."""
    for (y, x), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            colour = PAPER if abs(value) > _STRONG * limit else INK
            text = f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
            axes.text(x, y, text, ha="center", va="center_baseline", fontsize=6.5, color=colour)
