"""latent_space_umap.png: z and h in one map, then z of each level, in several colours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from setvae_cli.evaluation.latents import Latents
from setvae_cli.numbers import count, percent
from setvae_cli.reports import figures
from setvae_cli.reports.figures import FAINT, INK
from setvae_cli.reports.latents import colours
from setvae_cli.reports.latents.colours import Classes, Scale
from setvae_cli.reports.latents.describe import footer
from setvae_cli.reports.latents.picture import Paint, Picture, render
from setvae_cli.reports.latents.projection import FEWEST_POINTS, NAMES, Map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

JOINED, PARTS = 60, 40
PICTURED = 2000  # sets: more would hide one another in a panel of three inches
_SIZE = (3.9, 3.5)
_AREAS = {"o": 4.0, "s": 3.2, "^": 5.0, "x": 7.0}


def draw_map(latents: Latents, maps: Sequence[Map]) -> Picture:
    """The joint map in a row of four panels, and a row for each level."""
    method = NAMES[maps[0].method]
    maps = [_thinned(one) for one in maps]
    shown = len(maps[0].of) // 2
    title = f"Latent space, {method}"
    few = f" (fewer than {FEWEST_POINTS})" if shown < FEWEST_POINTS else ""
    even = "colours of a scale: as many sets in each"
    foot = footer(latents, f"{count(shown)} sets shown{few}, drawn in random order", even)
    shared = [colours.outcome(latents), colours.hours(latents), colours.severity(latents)]
    paints: list[Paint] = []
    for number, one in enumerate(maps):
        first = None if number == 0 else colours.divergence(latents, number - 1)
        paints.append(_kinds(latents, one) if number == 0 else _painted(one, first, "KL"))
        for by, word in zip(shared, ("outcome", "time", "severity"), strict=True):
            paints.append(_painted(one, by, word))
    told = f"{title}: {count(shown)} sets, z and h in one map, and z of each level alone."
    wide, narrow = (render(paints, columns, title, foot, size=_SIZE) for columns in (4, 1))
    return Picture("latent_space_umap", title, told, wide, narrow)


def overlap(latents: Latents) -> str:
    """How much of h is linear in z, in words."""
    history = latents.measures.history
    if history is None or history.explained is None:
        return "R² of h by z not known"
    return f"R² of h by z {max(history.explained, 0):.2f}"


def _thinned(one: Map) -> Map:
    """The first of the sets; their order says nothing of them, so that they are a random part."""
    sets = len(one.of) // 2 if one.history.any() else len(one.of)
    kept = np.arange(len(one.of)) % sets < PICTURED
    return replace(one, xy=one.xy[kept], of=one.of[kept], history=one.history[kept])


def _kinds(latents: Latents, one: Map) -> Paint:
    """z and h told apart by colour, lightness and mark."""

    def paint(axes: Axes) -> None:
        ring: Any = {"marker": "+", "s": 11, "linewidths": 0.7, "color": colours.H.colour}
        disc: Any = {"marker": "o", "s": 4, "linewidths": 0, "color": colours.Z.colour}
        z, h = one.xy[~one.history], one.xy[one.history]
        for number, part in enumerate(np.array_split(np.arange(len(z)), PARTS)):
            for name, places, look in (("h", h[part], ring), ("z", z[part], disc)):
                axes.scatter(*places.T, alpha=0.7, label=None if number else name, **look)
        _join(axes, one)
        _frame(axes, f"{one.name}: {overlap(latents)}", one)
        _legend(axes)

    return paint


def _join(axes: Axes, one: Map) -> None:
    """Lines from some z to their own h: where h is linear in z, they have no length."""
    from matplotlib.collections import LineCollection

    z, h = one.xy[~one.history][:JOINED], one.xy[one.history][:JOINED]
    pairs = np.stack([z, h], axis=1)
    name = f"{len(pairs)} z, each with its own h"
    axes.add_collection(LineCollection(list(pairs), colors=INK, linewidths=0.8, label=name))


def _painted(one: Map, by: Classes | Scale | None, word: str) -> Paint:
    def paint(axes: Axes) -> None:
        title = f"{one.name}, by {word}"
        if by is None:
            figures.absent(axes, title, "not known, or of fewer than 10 subjects")
        elif isinstance(by, Classes):
            _frame(axes, title, one)
            _classes(axes, one, by)
        else:
            _frame(axes, title, one)
            _scaled(axes, one, by)

    return paint


def _classes(axes: Axes, one: Map, by: Classes) -> None:
    """Points a part at a time, classes of each in turn first: else one would hide the others.

    Marks of all classes are equal in area, and the legend has the share of each.
    """
    value = by.value[one.of]
    classes = list(by.words.items())
    for number, part in enumerate(np.array_split(np.arange(len(value)), PARTS)):
        for each, (word, pen) in classes[:: -1 if number % 2 else 1]:
            x, y = one.xy[part[value[part] == each]].T
            look: Any = {"s": _AREAS.get(pen.mark, 4), "linewidths": 0.6 if pen.mark == "x" else 0}
            look["label"] = None if number else f"{word}: {percent((value == each).mean())}"
            axes.scatter(x, y, color=pen.colour, marker=pen.mark, alpha=0.75, **look)
    _legend(axes, by.name)


def _scaled(axes: Axes, one: Map, by: Scale) -> None:
    from matplotlib.colors import to_rgb

    number, palette = by.bins[one.of], np.array([to_rgb(each) for each in by.colours])
    known = number >= 0
    x, y = one.xy[known].T
    axes.scatter(x, y, c=palette[number[known]], linewidths=0, s=5, alpha=0.8)
    bar = axes.inset_axes((0.0, -0.06, 1.0, 0.03))
    bar.imshow(palette[None], aspect="auto", extent=(0, len(palette), 0, 1))
    bar.grid(visible=False)
    bar.set_yticks([])
    ticks = range(0, len(by.edges), 2 if len(by.edges) > 5 else 1)
    bar.set_xticks(ticks, [f"{by.edges[tick]:.3g}" for tick in ticks])
    bar.tick_params(labelsize=7.5, length=2, pad=1)
    bar.set_xlabel(by.name, fontsize=8, labelpad=2, parse_math=False)


def _frame(axes: Axes, title: str, one: Map) -> None:
    """A map's distances have no unit: its axes are named and have no numbers."""
    method = NAMES[one.method]
    axes.set_title(title, fontsize=9.5)
    axes.set_ylabel(f"{method} 2 over {method} 1, no unit")
    axes.set_xticks([])
    axes.set_yticks([])


def _legend(axes: Axes, title: str = "") -> None:
    shown = axes.legend(
        title=title or None,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.005),
        ncols=6,
        fontsize=8,
        title_fontsize=8,
        frameon=False,
        markerscale=2,
        handletextpad=0.1,
        columnspacing=1.0,
    )
    shown.get_title().set_color(FAINT)
    for mark in shown.legend_handles:
        if mark is not None:
            mark.set_alpha(1)
