"""Raw values as a model expects them: its keys, values clipped to its quantiles, z-scores."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setvae_cli.store.vocabulary import Vocabulary


@dataclass(frozen=True)
class Standardiser:
    """For each of a store's codes: the model's key and statistics, in tables to take from.

    Attributes:
        key: Number in the model's vocabulary, -1: unknown to it.
        statistics: Low, high, mean and inverse deviation, float32 [codes, 4]. Low and high are the
            outer training quantiles; 0 and 1 for binary codes; else infinite. The inverse deviation
            is NaN where a code has no values, so that NaN marks every such event.
    """

    key: NDArray[np.int32]
    statistics: NDArray[np.float32]

    @staticmethod
    def between(store: Vocabulary, model: Vocabulary) -> Standardiser:
        """From a store's numbering and raw units to a model's."""
        key = model.match(store.codes)
        kinds = np.array(model.kinds, dtype=np.str_)[key]
        numeric = (kinds == "numeric") & (key >= 0)
        low_high = np.full((len(key), 2), (-np.inf, np.inf), dtype=np.float32)
        low_high[kinds == "binary"] = 0, 1
        quantiles = [model.quantiles[code] for code in key[numeric].tolist()]
        outer = [(each.item(0), each.item(-1)) for each in quantiles]
        low_high[numeric] = np.array(outer, dtype=np.float32).reshape(-1, 2)
        inv_std = np.where(numeric, 1 / model.std[key], 1)
        columns = (
            *low_high.T,
            np.where(numeric, model.mean[key], 0).astype(np.float32),
            np.where(kinds == "presence", np.nan, inv_std).astype(np.float32),
        )
        return Standardiser(key, np.stack(columns, axis=1))

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
        low, high, mean, inv_std = self.statistics.take(keys, axis=0).T
        z = np.maximum(values, low)
        np.minimum(z, high, out=z)
        z -= mean
        z *= inv_std
        mask = z == z  # only NaN differs from itself: half the time of isnan and its opposite
        if not mask.all():
            z[~mask] = 0
        return self.key.take(keys), z, mask

    def beside(self, other: Standardiser) -> bytes:
        """What to tell someone who has the other one, of the same codes: little if it is alike.

        The two are joined by exclusive or, so that equal bits are 0 and leading bits that agree
        are too; bytes of equal weight stand together, and zeros compress well.
        """
        planes = (self._bits() ^ other._bits()).view(np.uint8).reshape(-1, 4).T
        return zlib.compress(planes.tobytes())

    def changed(self, difference: bytes) -> Standardiser:
        """The standardiser that differs from this one in this way, bit for bit."""
        planes = np.frombuffer(zlib.decompress(difference), dtype=np.uint8).reshape(4, -1)
        joined = np.ascontiguousarray(planes.T).view(np.uint32).reshape(-1, 5) ^ self._bits()
        statistics = np.ascontiguousarray(joined[:, 1:]).view(np.float32)
        return Standardiser(np.ascontiguousarray(joined[:, 0]).view(np.int32), statistics)

    def _bits(self) -> NDArray[np.uint32]:
        columns = (self.key[:, None].view(np.uint32), self.statistics.view(np.uint32))
        return np.concatenate(columns, axis=1)
