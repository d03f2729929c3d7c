"""Raw values as a model expects them: its keys, values clipped to its quantiles, z-scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setvae_cli.store.vocabulary import Vocabulary


@dataclass(frozen=True)
class Standardiser:
    """For each of a store's codes: the model's key and statistics, in arrays to take from.

    Attributes:
        key: Number in the model's vocabulary, -1: unknown to it.
        low, high: Outer training quantiles; 0 and 1 for binary codes; else infinite.
        mean, inv_std: Moments; NaN where a code has no values, so that NaN marks every such event.
    """

    key: NDArray[np.int32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    mean: NDArray[np.float32]
    inv_std: NDArray[np.float32]

    @staticmethod
    def between(store: Vocabulary, model: Vocabulary) -> Standardiser:
        """From a store's numbering and raw units to a model's."""
        key = model.match(store.codes)
        kinds = np.array(model.kinds, dtype=np.str_)[key]
        numeric = kinds == "numeric"
        bounds = np.full((len(key), 2), (-np.inf, np.inf), dtype=np.float32)
        bounds[kinds == "binary"] = 0, 1
        for code in np.flatnonzero(numeric).tolist():
            quantiles = model.quantiles[key[code]]
            bounds[code] = quantiles[0], quantiles[-1]
        inv_std = np.where(numeric, 1 / model.std[key], 1)
        return Standardiser(
            key,
            bounds[:, 0].copy(),
            bounds[:, 1].copy(),
            np.where(numeric, model.mean[key], 0).astype(np.float32),
            np.where(kinds == "presence", np.nan, inv_std).astype(np.float32),
        )

    def __call__(
        self, keys: NDArray[np.int32], values: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
        """Standardise events.

        Args:
            keys: The store's code numbers [elements].
            values: Raw values [elements], NaN: none.

        Returns:
            The model's code numbers; z-scores (0 and 1, or the class, for binary and category
            codes), 0 where there is none; and True where there is a value.
        """
        z = np.minimum(np.maximum(values, self.low[keys]), self.high[keys])
        z -= self.mean[keys]
        z *= self.inv_std[keys]
        mask = ~np.isnan(z)
        if not mask.all():
            z[~mask] = 0
        return self.key[keys], z, mask
