"""What a view is to say of what is not in it: codes and values behind a cut, and hidden values.

Values are Gaussianised: their rank between the 17 training quantiles of their code becomes the
standard normal quantile of that rank. A value that lies on several equal quantiles has their mean
rank. Numbers of binary codes become -1 and 1. Codes of categories and of mere presence have no
value here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from setvae_cli.data.batch import Targets
from setvae_cli.store.format import Packed
from setvae_cli.store.pack import keep_elements
from setvae_cli.store.vocabulary import LEVELS, Vocabulary

Array = NDArray[Any]


@dataclass(frozen=True)
class Gaussianiser:
    """For each of a store's codes: the model's key, and the knots of its ranks.

    Attributes:
        key: Number in the model's vocabulary, -1: unknown to it.
        knots: Training quantiles in raw units, float32 [codes, quantiles]; 0 where there are none.
        kind: 2 for numeric codes, 1 for binary ones, 0 for those without a value here.
    """

    key: NDArray[np.int32]
    knots: NDArray[np.float32]
    kind: NDArray[np.int8]

    @staticmethod
    def between(store: Vocabulary, model: Vocabulary) -> Gaussianiser:
        """From a store's numbering and raw units to a model's ranks."""
        key = model.match(store.codes)
        kinds = np.array(model.kinds, dtype=np.str_)[key]
        numeric, binary = kinds == "numeric", kinds == "binary"
        kind = np.where(key < 0, 0, 2 * numeric + binary).astype(np.int8)
        knots = np.zeros((len(key), len(LEVELS)), dtype=np.float32)
        for code in np.flatnonzero(kind == 2):
            knots[code] = model.quantiles[key[code]]
        return Gaussianiser(key, knots, kind)

    def __call__(
        self, keys: NDArray[np.int32], values: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Gaussianise events.

        Args:
            keys: The store's code numbers [elements].
            values: Raw values [elements], NaN: none.

        Returns:
            Standard normal quantiles, 0 where there is no value; and True where there is one.
        """
        kind = self.kind.take(keys)
        valued = (kind > 0) & ~np.isnan(values)
        ranks = self._ranks(self.knots.take(keys, axis=0), values[:, None])
        normal: Array = torch.special.ndtri(torch.from_numpy(ranks)).numpy()
        normal = np.where(kind == 1, np.where(values > 0.5, 1.0, -1.0), normal)
        return np.where(valued, normal, 0.0).astype(np.float32), valued

    @staticmethod
    def _ranks(knots: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Rank of each value between its knots; between two knots it rises linearly."""
        last = knots.shape[1] - 1
        below, up_to = (knots < values).sum(1), (knots <= values).sum(1)
        tied = 0.5 * (LEVELS[below.clip(0, last)] + LEVELS[(up_to - 1).clip(0, last)])
        low = (below - 1).clip(0, last - 1)
        each = np.arange(len(knots))
        left, right = knots[each, low], knots[each, low + 1]
        share = (values[:, 0] - left) / np.where(right > left, right - left, 1)
        between = LEVELS[low] + share.clip(0, 1) * (LEVELS[low + 1] - LEVELS[low])
        return np.asarray(np.where(up_to > below, tied, np.nan_to_num(between, nan=0.5)))


@dataclass(frozen=True)
class Hidden:
    """Elements that were left out of a batch while their set stayed.

    Attributes:
        sets: Set of each in the batch, int64 [hidden].
        keys: The store's code numbers [hidden].
        values: Raw values [hidden].
    """

    sets: NDArray[np.int64]
    keys: NDArray[np.int32]
    values: NDArray[np.float32]

    @staticmethod
    def of(packed: Packed, visible: NDArray[np.bool_]) -> Hidden:
        """What a mask of elements leaves out of some sets."""
        _, _, filled = keep_elements(visible, packed.row_offsets, packed.set_offsets)
        sizes = np.diff(packed.set_offsets)
        place = np.where(filled, np.cumsum(filled) - 1, -1).repeat(sizes)
        chosen = np.flatnonzero(~visible & (place >= 0))
        return Hidden(place[chosen], packed.keys[chosen], packed.values[chosen])


def make_targets(
    gaussianise: Gaussianiser, future: Packed, hidden: Hidden | None, codes: int
) -> Targets:
    """Targets of a batch.

    Args:
        gaussianise: Raw values to ranks of the model.
        future: Events behind the cut of each subject, of codes that the model knows.
        hidden: Elements left out of the views; None: none were.
        codes: Codes of the model.
    """
    subjects = len(future.row_offsets) - 1
    ends = future.set_offsets[future.row_offsets]
    counts = ends[1:] - ends[:-1]
    pairs = np.arange(subjects).repeat(counts) * codes + gaussianise.key.take(future.keys)
    pair, statistics, valued = _statistics(pairs, *gaussianise(future.keys, future.values))
    sets, keys, values = _valued(gaussianise, hidden)
    return Targets(
        forecast=torch.from_numpy(counts > 0),
        pair_subject=torch.from_numpy(pair // codes),
        pair_code=torch.from_numpy(pair % codes),
        statistics=torch.from_numpy(statistics),
        valued=torch.from_numpy(valued),
        hidden_set=torch.from_numpy(sets),
        hidden_code=torch.from_numpy(keys),
        hidden_value=torch.from_numpy(values),
    )


def _statistics(
    pairs: NDArray[np.int64], values: NDArray[np.float32], valued: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """Distinct pairs, ascending; mean, smallest and largest value of each; whether it has any."""
    if not len(pairs):
        return pairs, np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.bool_)
    order = pairs.argsort(kind="stable")
    pairs, values, valued = pairs[order], values[order], valued[order]
    starts = np.flatnonzero(np.r_[True, pairs[1:] != pairs[:-1]])
    number = np.add.reduceat(valued, starts, dtype=np.int64)
    total = np.add.reduceat(values, starts, dtype=np.float64)
    low = np.minimum.reduceat(np.where(valued, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(valued, values, -np.inf), starts)
    columns = np.stack([total / np.maximum(number, 1), low, high], axis=1)
    has = number > 0
    return pairs[starts], np.where(has[:, None], columns, 0).astype(np.float32), has


def _valued(
    gaussianise: Gaussianiser, hidden: Hidden | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Set, model's code and Gaussianised value of hidden elements that have one."""
    if hidden is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    values, valued = gaussianise(hidden.keys, hidden.values)
    keys = gaussianise.key.take(hidden.keys[valued]).astype(np.int64)
    return hidden.sets[valued], keys, values[valued]
