"""What points of a map can be coloured by: what they are, outcome, hours, severity, KL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.latents import Latents
from setvae_cli.reports.figures import PENS, Pen
from setvae_cli.reports.latents.describe import of_sets

UNKNOWN = Pen("#8a8a8a", "-", "x")
Z, H = PENS[0], PENS[1]
CLASSES = (Pen("#56b4e9", "-", "o"), PENS[1], PENS[2], PENS[3], PENS[4], PENS[0], PENS[6])


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
    """A colour on a scale from dark to bright.

    Attributes:
        name: What it is, with its unit.
        value: [sets], NaN where unknown.
        low, high: Ends of the scale: 2 % of sets lie below and above.
    """

    name: str
    value: NDArray[Any]
    low: float
    high: float


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


def hours(latents: Latents) -> Scale | None:
    """Hours since the subject's first set; None without time."""
    return scale("hours since the first set", latents.sets.hours)


def severity(latents: Latents) -> Scale | None:
    """Severity of each set's subject; None where none is known."""
    return scale(latents.subjects.severity_name, of_sets(latents, latents.subjects.severity))


def divergence(latents: Latents, level: int) -> Scale | None:
    """Raw KL of each set at a level, from 0."""
    return scale("KL of the set, nats", latents.sets.levels[level].kl.sum(1))


def scale(name: str, value: NDArray[Any]) -> Scale | None:
    """A scale over what is known; None where nothing is."""
    known = value[np.isfinite(value)]
    if len(known) == 0:
        return None
    low, high = (float(end) for end in np.quantile(known, (0.02, 0.98)))
    return Scale(name, value, low, high if high > low else low + 1.0)


def scales(latents: Latents) -> Iterator[Scale]:
    """Those that belong to any map."""
    for one in (hours(latents), severity(latents)):
        if one is not None:
            yield one
