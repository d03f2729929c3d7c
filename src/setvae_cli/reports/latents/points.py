"""What the scatter of the page reads: points and what they are coloured and filtered by.

Arrays travel as base64 of little-endian numbers. Sets are counted anew, in the order in which they
were chosen; subjects are named by row number. A page may be passed on, so that it holds no figure
of a single subject: hours are whole ones, and of a scale there is the number of the colour.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.latents import Latents
from setvae_cli.reports.latents import colours
from setvae_cli.reports.latents.colours import Scale
from setvae_cli.reports.latents.describe import of_sets
from setvae_cli.reports.latents.draw_map import overlap
from setvae_cli.reports.latents.projection import NAMES, Map

UNKNOWN = 255


def points(latents: Latents, maps: Sequence[Map], chosen: NDArray[np.int64]) -> dict[str, Any]:
    """Everything of the scatter as plain values.

    Args:
        latents: What was found.
        maps: Of the chosen sets.
        chosen: Indices of sets among all of them.
    """
    sets, subjects = latents.sets, latents.subjects
    return {
        "task": latents.task or "label",
        "row": _packed(sets.row[chosen], "<i4"),
        "set": _packed(sets.place[chosen], "<i4"),
        "label": _packed(of_sets(latents, subjects.label)[chosen], "<i4"),
        "hours": _packed(np.floor(sets.hours[chosen]), "<f4"),
        "classes": _classes(latents),
        "scales": [_scaled(one, chosen) for one in _scales(latents)],
        "maps": [_mapped(one, latents, chosen) for one in maps],
        "pens": {"z": colours.Z.colour, "h": colours.H.colour},
    }


def _scales(latents: Latents) -> list[Scale]:
    known = list(colours.scales(latents))
    for number in range(len(latents.sets.levels)):
        one = colours.divergence(latents, number)
        if one is not None:
            name = f"KL of level {number + 1}, nats"
            known.append(Scale(name, one.value, one.edges))
    return known


def _classes(latents: Latents) -> list[list[Any]]:
    by = colours.outcome(latents)
    if by is None:
        return [[-1, "unknown", colours.UNKNOWN.colour]]
    return [[value, word, pen.colour] for value, (word, pen) in by.words.items()]


def _scaled(one: Scale, chosen: NDArray[np.int64]) -> dict[str, Any]:
    found = one.bins[chosen]
    return {
        "name": one.name,
        "edges": [float(f"{edge:.3g}") for edge in one.edges],
        "colours": one.colours,
        "bin": _packed(np.where(found < 0, UNKNOWN, found), "<u1"),
    }


def _mapped(one: Map, latents: Latents, chosen: NDArray[np.int64]) -> dict[str, Any]:
    places = np.empty(len(latents.sets.row), np.int64)
    places[chosen] = np.arange(len(chosen))
    both = bool(one.history.any())
    order = _mixed(places[one.of], one.history)
    more = f"; {overlap(latents)}" if both else ""
    return {
        "name": f"{one.name} ({NAMES[one.method]}{more})",
        "both": both,
        "xy": _packed(one.xy[order], "<f4"),
        "of": _packed(places[one.of[order]], "<i4"),
        "history": _packed(one.history[order], "<u1"),
    }


def _mixed(place: NDArray[np.int64], history: NDArray[np.bool_]) -> NDArray[np.int64]:
    """An order in which neither z nor h always covers the other."""
    return np.lexsort((history ^ (place % 2 == 1), place))


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()
