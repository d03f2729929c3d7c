"""latent_space_umap.png: z and h in one map, then z of each level, in several colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from setvae_cli.evaluation.latents import Latents
from setvae_cli.numbers import count
from setvae_cli.reports import figures
from setvae_cli.reports.figures import FAINT, INK
from setvae_cli.reports.latents import colours
from setvae_cli.reports.latents.colours import Classes, Scale
from setvae_cli.reports.latents.describe import footer
from setvae_cli.reports.latents.picture import Paint, Picture, render
from setvae_cli.reports.latents.projection import FEWEST_POINTS, NAMES, Map
from setvae_cli.reports.posterior import SEQUENTIAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

JOINED, PARTS = 60, 12
_SIZE = (3.9, 3.5)


def draw_map(latents: Latents, maps: Sequence[Map]) -> Picture:
    """The joint map in a row of four panels, and a row for each level."""
    method = NAMES[maps[0].method]
    shown = len(maps[0].of) // 2
    title = f"Latent space, {method}"
    few = f" (fewer than {FEWEST_POINTS})" if shown < FEWEST_POINTS else ""
    foot = footer(latents, f"{count(shown)} sets shown{few}")
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


def _kinds(latents: Latents, one: Map) -> Paint:
    """z and h told apart by colour, lightness and mark."""

    def paint(axes: Axes) -> None:
        for pen, kind, name in ((colours.H, one.history, "h"), (colours.Z, ~one.history, "z")):
            x, y = one.xy[kind].T
            mark: Any = {"marker": "+", "s": 13, "linewidths": 0.7}
            if name == "z":
                mark = {"marker": "o", "s": 5, "linewidths": 0}
            axes.scatter(x, y, color=pen.colour, alpha=0.7, label=name, **mark)
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
            figures.absent(axes, title, "not known")
        elif isinstance(by, Classes):
            _frame(axes, title, one)
            _classes(axes, one, by)
        else:
            _frame(axes, title, one)
            _scaled(axes, one, by)

    return paint


def _classes(axes: Axes, one: Map, by: Classes) -> None:
    """Points a part at a time, all classes of each: else the last one would hide the others."""
    value = by.value[one.of]
    for number, part in enumerate(np.array_split(np.arange(len(value)), PARTS)):
        for each, (word, pen) in by.words.items():
            x, y = one.xy[part[value[part] == each]].T
            look: Any = {"s": 6, "linewidths": 0.6 if pen.mark == "x" else 0}
            look["label"] = None if number else word
            axes.scatter(x, y, color=pen.colour, marker=pen.mark, alpha=0.8, **look)
    _legend(axes, by.name)


def _scaled(axes: Axes, one: Map, by: Scale) -> None:
    value = by.value[one.of]
    known = np.isfinite(value)
    x, y = one.xy[known].T
    look: Any = {"cmap": SEQUENTIAL, "vmin": by.low, "vmax": by.high, "linewidths": 0, "s": 5}
    shown = axes.scatter(x, y, c=value[known], **look)
    bar = axes.inset_axes((0.0, -0.06, 1.0, 0.03))
    ticks = np.linspace(by.low, by.high, 5)
    axes.figure.colorbar(shown, cax=bar, orientation="horizontal", ticks=ticks)
    bar.set_xticklabels([f"{tick:.3g}" for tick in ticks])
    bar.tick_params(labelsize=7.5, length=2, pad=1)
    bar.set_xlabel(by.name, fontsize=8, labelpad=2)


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
