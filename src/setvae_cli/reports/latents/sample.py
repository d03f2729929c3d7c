"""Which sets a map shows: at most 4 000, spread over subjects, the same for the same seed.

Sets are ordered by a hash of their subject's row number and their place, as the monitor's sample
is (bottom-k); every subject gives its first set before any gives a second.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from setvae_cli.data.noise import counter_uniform
from setvae_cli.evaluation.latents import SetLatents

MOST_SETS = 4000
_DRAW = 15


def choose(sets: SetLatents, seed: int, most: int = MOST_SETS) -> NDArray[np.int64]:
    """Indices of the chosen sets, in an order that has nothing to do with what they show.

    Args:
        sets: All that were kept.
        seed: Another one, another choice.
        most: How many at most.
    """
    row = torch.from_numpy(np.ascontiguousarray(sets.row))
    place = torch.from_numpy(sets.place.astype(np.int64))
    key = counter_uniform(seed, 0, 0, row, place, draw=_DRAW).numpy()
    by_subject = np.lexsort((key, sets.row))
    turn = np.empty(len(key), np.int64)
    turn[by_subject] = _counted(sets.row[by_subject])
    chosen: NDArray[np.int64] = np.lexsort((key, turn))[:most]
    return chosen[np.argsort(key[chosen], kind="stable")]


def _counted(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal ones stand before each, of rows that stand together."""
    place = np.arange(len(rows))
    starts = np.concatenate([[True], rows[1:] != rows[:-1]]) if len(rows) else np.zeros(0, bool)
    return place - np.maximum.accumulate(np.where(starts, place, 0))
