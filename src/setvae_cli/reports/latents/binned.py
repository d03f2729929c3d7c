"""Means of sets in bins, with intervals that know that sets of one subject resemble each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_SUBJECTS = 10
_NORMAL_QUANTILE = 1.959964

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """Means of bins that hold at least 10 subjects, rising in x, each array [bins].

    Attributes:
        x: Mean of what is binned.
        mean: Of the values.
        low, high: 95 % interval over subjects; the mean's own where it has one subject.
        sets: In each bin.
    """

    x: Doubles
    mean: Doubles
    low: Doubles
    high: Doubles
    sets: NDArray[np.int64]


def binned(
    x: NDArray[np.generic],
    values: NDArray[np.generic],
    subject: NDArray[np.int64],
    edges: Doubles,
    fewest: int = FEWEST_SUBJECTS,
) -> Bins:
    """Means by bins of x.

    The interval is that of a mean of clusters (Liang and Zeger 1986): what each subject's sets lie
    off their bin's mean is summed before it is squared.

    Args:
        x, values: [sets]; sets where either is not finite are left out.
        subject: [sets] number of each set's subject, from 0.
        edges: Rising; a bin holds its lower edge.
        fewest: Bins with fewer subjects are left out, for they would tell of single people.
    """
    place = np.searchsorted(edges, x.astype(np.float64), side="right") - 1
    wanted = (place >= 0) & (place < len(edges) - 1)
    wanted &= np.isfinite(x.astype(np.float64)) & np.isfinite(values.astype(np.float64))
    place, number = place[wanted], subject[wanted]
    at, value = x[wanted].astype(np.float64), values[wanted].astype(np.float64)
    bins = len(edges) - 1
    sets = np.bincount(place, minlength=bins)
    whole = np.maximum(sets, 1)
    mean = np.bincount(place, value, bins) / whole
    pairs, pair = np.unique(place * (int(subject.max(initial=0)) + 1) + number, return_inverse=True)
    off = np.bincount(pair, value - mean[place], len(pairs))
    owner = pairs // (int(subject.max(initial=0)) + 1)
    subjects = np.bincount(owner, minlength=bins)
    scatter = np.bincount(owner, off**2, bins) * subjects / np.maximum(subjects - 1, 1)
    reach = _NORMAL_QUANTILE * np.sqrt(scatter) / whole
    kept = subjects >= max(1, fewest)
    centre = np.bincount(place, at, bins) / whole
    low, high = mean - reach, mean + reach
    return Bins(centre[kept], mean[kept], low[kept], high[kept], sets[kept])
