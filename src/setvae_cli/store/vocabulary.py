"""Codes of a store or a model, with the training statistics that standardise their values."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from setvae_cli.errors import DataError, InputError
from setvae_cli.numbers import counted
from setvae_cli.sources.records import Kind

QUANTILES = 17
LEVELS = np.linspace(0.005, 0.995, QUANTILES)
KINDS: tuple[Kind, ...] = get_args(Kind)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Vocabulary:
    """What each code is and how its training values are spread.

    Attributes:
        codes: Names; their order is the numbering of keys.
        kinds: What each code's value is.
        counts: Training events, int64 [codes]; 0: never seen in training.
        mean, std: Moments of training values clipped to the outer quantiles, float64 [codes];
            0 and 1 for presence, binary and category codes.
        quantiles: A float32 array a code. Numeric: 17 training quantiles from 0.5 % to 99.5 %,
            non-decreasing, raw units. Binary: 0 and 1. Category: its classes, sorted. Presence:
            empty.
        embedding: Given embeddings of the codes, float32 [codes, width], or None.
    """

    codes: tuple[str, ...]
    kinds: tuple[Kind, ...]
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    quantiles: tuple[NDArray[np.float32], ...]
    embedding: NDArray[np.float32] | None = None

    def digest(self) -> str:
        """SHA-256 of everything inside."""
        names = json.dumps([self.codes, self.kinds], ensure_ascii=True).encode()
        state = hashlib.sha256(names)
        embedding = () if self.embedding is None else (self.embedding,)
        for array in (self.counts, self.mean, self.std, *self.quantiles, *embedding):
            state.update(repr(array.shape).encode())
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()

    def match(self, codes: Sequence[str]) -> NDArray[np.int32]:
        """Number here of each of another vocabulary's codes.

        Returns:
            int32 [codes]; -1 where the name is unknown here, or was never seen in training.
        """
        seen = {name: i for i, name in enumerate(self.codes) if self.counts[i] > 0}
        return np.array([seen.get(name, -1) for name in codes], dtype=np.int32)

    def take(self, codes: NDArray[np.int64]) -> Vocabulary:
        """Some of the codes, by their numbers, in that order."""
        return Vocabulary(
            tuple(self.codes[i] for i in codes),
            tuple(self.kinds[i] for i in codes),
            self.counts[codes],
            self.mean[codes],
            self.std[codes],
            tuple(self.quantiles[i] for i in codes),
            None if self.embedding is None else self.embedding[codes],
        )

    def to_plain(self) -> dict[str, Any]:
        """Lists, numbers and strings that say the same, for checkpoints."""
        return {
            "codes": list(self.codes),
            "kinds": list(self.kinds),
            "counts": self.counts.tolist(),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "quantiles": [array.tolist() for array in self.quantiles],
            "embedding": None if self.embedding is None else self.embedding.tolist(),
        }

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> Vocabulary:
        """The inverse of `to_plain`.

        Raises:
            DataError: The parts do not fit each other.
        """
        try:
            embedding = plain["embedding"]
            vocabulary = Vocabulary(
                tuple(str(name) for name in plain["codes"]),
                tuple(KINDS[KINDS.index(kind)] for kind in plain["kinds"]),
                np.array(plain["counts"], dtype=np.int64),
                np.array(plain["mean"], dtype=np.float64),
                np.array(plain["std"], dtype=np.float64),
                tuple(np.array(values, dtype=np.float32) for values in plain["quantiles"]),
                None if embedding is None else np.array(embedding, dtype=np.float32),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("the vocabulary is damaged", where="vocabulary") from error
        _check_lengths(vocabulary)
        return vocabulary


def write_vocabulary(path: Path, vocabulary: Vocabulary) -> None:
    """Write a vocabulary as Parquet with page checksums."""
    columns = {
        "code": pa.array(range(len(vocabulary.codes)), pa.int32()),
        "name": pa.array(vocabulary.codes, pa.string()),
        "kind": pa.array(vocabulary.kinds, pa.string()),
        "count": pa.array(vocabulary.counts),
        "mean": pa.array(vocabulary.mean),
        "std": pa.array(vocabulary.std),
        "quantiles": pa.array(list(vocabulary.quantiles), pa.list_(pa.float32())),
    }
    if vocabulary.embedding is not None:
        columns["embedding"] = pa.array(list(vocabulary.embedding), pa.list_(pa.float32()))
    pq.write_table(pa.table(columns), path, write_page_checksum=True)


def read_vocabulary(path: Path) -> Vocabulary:
    """Read what `write_vocabulary` wrote.

    Raises:
        DataError: The file is missing or damaged.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        plain: dict[str, Any] = table.to_pydict()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            "the vocabulary is damaged or missing", where=str(path), mend="prepare the store again"
        ) from error
    plain["codes"], plain["kinds"] = plain.pop("name", None), plain.pop("kind", None)
    plain["counts"] = plain.pop("count", None)
    plain.setdefault("embedding", None)
    return Vocabulary.from_plain(plain)


def shown_code(name: str) -> str:
    """A code in a message; the text of an attribute, which may say who a patient is, left out."""
    attribute, equals, _ = name.partition("=")
    return f"{attribute}=..." if equals else name


def with_statistics(
    vocabulary: Vocabulary, statistics: Mapping[str, tuple[float, float]]
) -> Vocabulary:
    """The same vocabulary with a source's own mean and standard deviation of numeric codes.

    Raises:
        InputError: A code is missing, or a number is not finite, or a deviation is negative.
    """
    numeric = [i for i, kind in enumerate(vocabulary.kinds) if kind == "numeric"]
    missing = [vocabulary.codes[i] for i in numeric if vocabulary.codes[i] not in statistics]
    if missing:
        raise InputError(
            f"the statistics lack {len(missing)} codes, such as {missing[0]!r:.60}",
            mend="add them, or leave the statistics out so that they are fitted",
        )
    mean, std = vocabulary.mean.copy(), vocabulary.std.copy()
    for i in numeric:
        mean[i], std[i] = statistics[vocabulary.codes[i]]
        if not np.isfinite(mean[i]) or not np.isfinite(std[i]) or std[i] < 0:
            raise InputError(
                f"the statistics of {vocabulary.codes[i]!r:.60} are not a number and a deviation "
                "of at least 0",
                mend="correct them, or leave the statistics out so that they are fitted",
            )
    constant = [vocabulary.codes[i] for i in numeric if std[i] == 0]
    if constant:
        many = counted(len(constant), "code")
        _log.warning("%s with std 0 in the statistics, divided by 1: %s",
                     many, ", ".join(constant[:5]))  # fmt: skip
    return replace(vocabulary, mean=mean, std=np.where(std == 0, 1.0, std))


def with_embedding(
    vocabulary: Vocabulary, names: Sequence[str], embedding: NDArray[np.float32]
) -> Vocabulary:
    """The same vocabulary with the embedding of each code, matched by name.

    Raises:
        InputError: A code has none, the shape does not fit, or a row is zero or not finite.
    """
    if embedding.ndim != 2 or len(embedding) != len(names) or not embedding.shape[1]:
        raise InputError("the embeddings are no table of one row a name", mend="check the file")
    place = {name: i for i, name in enumerate(names)}
    missing = [name for name in vocabulary.codes if name not in place]
    if missing:
        raise InputError(
            f"the embeddings lack {len(missing)} of {len(vocabulary.codes)} codes, such as "
            f"{missing[0]!r:.60}",
            mend="embed every code, or leave the embeddings out so that they are learned",
        )
    rows = embedding[[place[name] for name in vocabulary.codes]].astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(rows).all(1) | ~rows.any(1))
    if len(bad):
        raise InputError(
            f"{len(bad)} embeddings are zero or not finite, such as that of "
            f"{vocabulary.codes[bad[0]]!r:.60}",
            mend="embed these codes again",
        )
    return replace(vocabulary, embedding=rows)


def _check_lengths(vocabulary: Vocabulary) -> None:
    parts = (
        vocabulary.kinds,
        vocabulary.counts,
        vocabulary.mean,
        vocabulary.std,
        vocabulary.quantiles,
    )
    codes = len(vocabulary.codes)
    if any(len(part) != codes for part in parts) or (
        vocabulary.embedding is not None and vocabulary.embedding.shape[:1] != (codes,)
    ):
        raise DataError("the vocabulary is damaged: its columns differ in length")
