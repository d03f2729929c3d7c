"""Jumps, divergence and standstill of a loss, measured against its own scatter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setvae_cli.numbers import count
from setvae_cli.reports.curves.readings import significant
from setvae_cli.reports.curves.series import Series

JUMPS, SIGMAS, WINDOW = 3, 10.0, 25
BACK = 0.5
_SMOOTH = 1e-3  # of the loss: what counts as scatter where there is none
_NORMAL = 1.4826  # the median absolute deviation of a normal is 1 / 1.4826 of its sigma


def instability(series: Series) -> str:
    """What is unstable about a loss, one clause; empty where nothing is.

    Args:
        series: As logged, with what is not finite.
    """
    clauses = []
    broken = len(series) - len(series.finite())
    if broken:
        first = series.steps[~np.isfinite(series.values)][0]
        clauses.append(f"{count(broken)} values are no numbers, from step {count(first)} on")
    loss = series.finite()
    if len(loss) < 10:
        return "; ".join(clauses)
    jumps = jumping(loss)
    if len(jumps) >= JUMPS:
        clauses.append(f"{count(len(jumps))} jumps, the first at step {count(jumps[0])}")
    clauses += _diverged(loss)
    return "; ".join(clauses)


def jumping(loss: Series) -> NDArray[np.int64]:
    """Steps at which a loss lies far above its running median, the first windows left out.

    Medians are those of windows of 25 values, joined by lines; far is 10 times the scatter of all
    values around them.
    """
    windows = len(loss) // WINDOW
    if windows < 3:
        return np.zeros(0, np.int64)
    whole = loss.values[: windows * WINDOW].reshape(windows, WINDOW)
    centres = np.arange(windows) * WINDOW + (WINDOW - 1) / 2
    above = loss.values - np.interp(np.arange(len(loss)), centres, np.median(whole, axis=1))
    sigma = _NORMAL * float(np.median(np.abs(above)))
    least = _SMOOTH * float(np.median(np.abs(loss.values)))
    far = above > SIGMAS * max(sigma, least)
    far[:WINDOW] = False
    return loss.steps[far]


def level_from(loss: Series) -> str:
    """A clause on a loss that did not fall; empty where it did."""
    third = max(2, len(loss) // 10)
    start, end = loss.values[:third], loss.values[-third:]
    fell = float(np.median(start) - np.median(end))
    steps = np.abs(np.diff(loss.values))
    scatter = float(np.median(steps)) if len(steps) else 0.0
    if fell > 2 * scatter:
        return ""
    first, last = significant(float(np.median(start))), significant(float(np.median(end)))
    return f"the training loss went from {first} to {last}, within its scatter"


def _diverged(loss: Series) -> list[str]:
    """Whether the end lies halfway back between the lowest stretch and the start, or above it."""
    parts = [np.median(part) for part in np.array_split(loss.values, min(10, len(loss) // 2))]
    low, start, end = min(parts), parts[0], parts[-1]
    if start <= low or end - low <= BACK * (start - low):
        return []
    return [f"the loss ends at {significant(float(end))}, after {significant(float(low))} before"]
