"""latent_correlation.png: active dimensions with each other, outcome, time and severity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.latents import Latents
from setvae_cli.reports import figures
from setvae_cli.reports.latents import colours
from setvae_cli.reports.latents.describe import footer, of_sets
from setvae_cli.reports.latents.picture import Paint, Picture, render
from setvae_cli.reports.posterior import SEQUENTIAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (4.9, 4.5)
Matrix = NDArray[np.float64]


def draw_correlation(latents: Latents) -> Picture:
    """Two panels a level: dimensions against each other, and against what is known."""
    paints: list[Paint] = []
    for number in range(len(latents.sets.levels)):
        mean, active = _means(latents, number)
        paints += [_each_other(mean, active, number + 1), _known(latents, mean, active)]
    title = "Correlation of latent dimensions"
    told = f"{title}: active dimensions of each level, with each other and with what is known."
    foot = footer(latents, "active dimensions only", "order: angle of the first two eigenvectors")
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
        _show(axes, correlation(mean, mean), active)
        axes.set_title(title)
        axes.set_xlabel("dimension")

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
        _show(axes, np.stack(found, 1), active)
        axes.set_xticks(range(len(columns)), list(columns), fontsize=8, parse_math=False)
        axes.set_title(title)

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


def _show(axes: Axes, matrix: Matrix, active: NDArray[np.int64]) -> None:
    look: Any = {"cmap": SEQUENTIAL, "vmin": -1, "vmax": 1, "interpolation": "nearest"}
    shown = axes.imshow(matrix, aspect="auto", **look)
    axes.grid(visible=False)
    every = -(-len(active) // 16)
    places = range(0, len(active), every)
    axes.set_yticks(places, [str(active[place]) for place in places], fontsize=7.5)
    if matrix.shape[0] == matrix.shape[1]:
        axes.set_xticks(places, [str(active[place]) for place in places], fontsize=7.5, rotation=90)
    axes.set_ylabel("dimension")
    bar = axes.inset_axes((1.02, 0.0, 0.03, 1.0))
    axes.figure.colorbar(shown, cax=bar, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.tick_params(labelsize=7.5, length=2, pad=1)
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, 0.88 * width, height))
