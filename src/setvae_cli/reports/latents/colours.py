"""What points of a map can be coloured by: what they are, outcome, hours, severity, KL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.latents import Latents
from setvae_cli.reports.figures import PENS, Pen
from setvae_cli.reports.latents.binned import FEWEST_SUBJECTS
from setvae_cli.reports.latents.describe import of_sets
from setvae_cli.reports.posterior import SEQUENTIAL

_QUANTILES = np.linspace(0.02, 0.98, 9)
_BRIGHTEST = 0.93  # what is brighter is lost on paper
UNKNOWN = Pen("#8a8a8a", "-", "x")
# Apart in lightness too, so that grey tells them apart.
Z, H = PENS[0], Pen("#e69f00", "-", "+")
_FIRST = (Pen("#7cc4ee", "-", "o"), Pen("#a63c00", "-", "s"))
CLASSES = (*_FIRST, PENS[2], PENS[3], PENS[4], PENS[0], PENS[6])


@dataclass(frozen=True)
class Classes:
    """A colour and a mark a class.

    Attributes:
        name: What they are classes of.
        value: [sets] class, -1 where unknown.
        words: Name and pen of each class that occurs, unknown first.
    """

    name: str
    value: NDArray[np.int64]
    words: dict[int, tuple[str, Pen]]


@dataclass(frozen=True)
class Scale:
    """Colours from dark to bright, each for about as many sets: a long tail darkens nothing.

    Attributes:
        name: What it is, with its unit.
        value: [sets], NaN where unknown.
        edges: Of the colours, rising: quantiles of what is known, from 2 % to 98 %. What lies
            outside has the outer colours.
    """

    name: str
    value: NDArray[Any]
    edges: tuple[float, ...]

    @property
    def bins(self) -> NDArray[np.int64]:
        """[sets] number of each one's colour, -1 where unknown."""
        inner = np.searchsorted(self.edges[1:-1], np.nan_to_num(self.value), side="right")
        found: NDArray[np.int64] = np.where(np.isfinite(self.value), inner, -1)
        return found

    @property
    def colours(self) -> tuple[str, ...]:
        """From dark to bright."""
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        shades = np.linspace(0, _BRIGHTEST, max(len(self.edges) - 1, 2))[: len(self.edges) - 1]
        return tuple(to_hex(shade) for shade in colormaps[SEQUENTIAL](shades))


def outcome(latents: Latents) -> Classes | None:
    """Label of each set's subject; None where none has one."""
    label = of_sets(latents, latents.subjects.label).astype(np.int64)
    known = np.unique(label[label >= 0])
    if len(known) == 0:
        return None
    words = {-1: ("unknown", UNKNOWN)} if (label < 0).any() else {}
    pens = (*CLASSES, *[CLASSES[-1]] * len(known))
    words |= {int(one): (str(one), pen) for one, pen in zip(known, pens, strict=False)}
    return Classes(latents.task or "label", label, words)


def tells_of_single(latents: Latents) -> bool:
    """Whether the ends of a scale would be figures of single people, which were not asked for."""
    return len(latents.subjects.row) < FEWEST_SUBJECTS and not latents.shows_values


def hours(latents: Latents) -> Scale | None:
    """Hours since the subject's first set; None without time, or of few subjects."""
    if tells_of_single(latents):
        return None
    return scale("hours since the first set", latents.sets.hours)


def severity(latents: Latents) -> Scale | None:
    """Severity of each set's subject; None where none is known, or of few subjects."""
    if tells_of_single(latents):
        return None
    return scale(latents.subjects.severity_name, of_sets(latents, latents.subjects.severity))


def divergence(latents: Latents, level: int) -> Scale | None:
    """Raw KL of each set at a level; None of few subjects."""
    if tells_of_single(latents):
        return None
    return scale("KL of the set, nats", latents.sets.levels[level].kl.sum(1))


def scale(name: str, value: NDArray[Any]) -> Scale | None:
    """A scale over what is known; None where nothing is."""
    known = value[np.isfinite(value)]
    if len(known) == 0:
        return None
    edges = np.unique(np.quantile(known.astype(np.float64), _QUANTILES)).tolist()
    return Scale(name, value, tuple(edges if len(edges) > 1 else 2 * edges))


def scales(latents: Latents) -> Iterator[Scale]:
    """Those that belong to any map."""
    for one in (hours(latents), severity(latents)):
        if one is not None:
            yield one
