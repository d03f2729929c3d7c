"""Training statistics of codes from written shards, in two passes that any engine may run.

First pass: a histogram of (code, value with 11 bits of mantissa), merged exactly; its quantiles
are the representative values (truncated toward 0, a relative error under 2^-11). Values of
category codes, which name classes, are kept whole. Second pass: moments of values clipped to the
outer quantiles, merged in shard order (Chan et al. 1979), so that any number of workers computes
the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.errors import InputError
from setvae_cli.numbers import counted
from setvae_cli.sources.records import Kind
from setvae_cli.store.engines import Crew, map_ordered
from setvae_cli.store.format import read_shard
from setvae_cli.store.vocabulary import KINDS, LEVELS, Vocabulary

if TYPE_CHECKING:
    from setvae_cli.store.reader import Store

MOST_CLASSES = 256
_DROPPED_BITS = 12  # of the 23 bits of mantissa
_BINS = 32  # bits of a bin's number
_PIECE = 500_000  # elements that are looked at at once: bounds memory, and fits caches
_log = logging.getLogger(__name__)

Array = NDArray[Any]


@dataclass(frozen=True)
class ShardRows:
    """Some rows of one shard.

    Attributes:
        path: The shard.
        rows: Row numbers inside it, ascending.
    """

    path: Path
    rows: NDArray[np.int64]

    def elements(self) -> Iterator[tuple[Array, Array]]:
        """Keys and raw values of the elements of these rows, some whole rows at a time."""
        shard = read_shard(self.path)
        bounds = shard.set_offsets[shard.row_offsets]
        chosen = np.zeros(len(bounds) - 1, dtype=bool)
        chosen[self.rows] = True
        pieces = np.arange(bounds[0], bounds[-1], _PIECE) + _PIECE
        first = 0
        ends = np.searchsorted(bounds[1:], pieces).clip(max=len(chosen) - 1)
        for last in np.unique(ends).tolist():
            rows = slice(first, last + 1)
            held = slice(bounds[first], bounds[last + 1])
            mask = np.repeat(chosen[rows], np.diff(bounds[first : last + 2]))
            yield shard.keys[held][mask], shard.values[held][mask]
            first = last + 1


@dataclass(frozen=True)
class _Histogram:
    counts: Array  # elements a code
    not_binary: Array  # values other than 0 and 1, a code
    bins: Array  # code << 32 | bin, ascending
    weights: Array  # elements a bin


def shard_rows(store: Store, rows: NDArray[np.int64]) -> list[ShardRows]:
    """Rows of a store by the shards that hold them, in shard order."""
    rows = np.sort(rows)
    shard, inside = store.columns.shard[rows], store.columns.row_in_shard[rows]
    return [ShardRows(store.shard_path(i), inside[shard == i]) for i in np.unique(shard).tolist()]


def fit_vocabulary(
    store: Store,
    rows: NDArray[np.int64] | None = None,
    *,
    fixed: Sequence[Kind] = KINDS,
    workers: int | str | Crew | None = 1,
) -> Vocabulary:
    """Statistics of the store's codes over some rows; embeddings stay the store's.

    Args:
        store: A written store.
        rows: Row numbers; None: the training split.
        fixed: Kinds that stay the store's; codes of others have the kind that these rows show.
        workers: Processes, or a scheduler's address.
    """
    jobs = shard_rows(store, store.split("train") if rows is None else rows)
    known = store.vocabulary
    kinds = zip(known.codes, known.kinds, strict=True)
    given = {name: kind for name, kind in kinds if kind in fixed}
    return fit(jobs, known.codes, given, embedding=known.embedding, workers=workers)


def fit(
    jobs: Sequence[ShardRows],
    codes: tuple[str, ...],
    given: Mapping[str, Kind],
    *,
    embedding: NDArray[np.float32] | None = None,
    workers: int | str | Crew | None = 1,
) -> Vocabulary:
    """Statistics over the given rows.

    Args:
        jobs: The rows, in shard order.
        codes: All codes of the shards.
        given: Kinds that are fixed; the rest is binary where all values are 0 or 1, else numeric.
        embedding: Given embeddings, passed on.
        workers: Processes, or a scheduler's address.

    Raises:
        InputError: A category has more than 256 classes.
    """
    exact = np.array([given.get(name) == "category" for name in codes], dtype=bool)
    histogram = _merge(
        map_ordered(partial(_histogram, exact=exact), jobs, workers=workers), len(codes)
    )
    kinds = tuple(_kind(name, i, given, histogram) for i, name in enumerate(codes))
    quantiles = tuple(
        _quantiles(name, kind, *_of_code(histogram, i))
        for i, (name, kind) in enumerate(zip(codes, kinds, strict=True))
    )
    numeric = np.array([kind == "numeric" for kind in kinds], dtype=bool)
    bounds = [(q[0], q[-1]) if n else (0, 0) for q, n in zip(quantiles, numeric, strict=True)]
    low, high = np.array(bounds, dtype=np.float32).reshape(-1, 2).T
    mean, std = _moments(jobs, numeric, low, high, workers)
    _warn_constant(codes, numeric & (histogram.counts > 0) & (std == 0))
    std[std == 0] = 1.0
    return Vocabulary(codes, kinds, histogram.counts, mean, std, quantiles, embedding)


def _histogram(job: ShardRows, *, exact: NDArray[np.bool_]) -> _Histogram:
    return _merge((_count(*piece, exact) for piece in job.elements()), len(exact))


def _count(keys: Array, values: Array, exact: NDArray[np.bool_]) -> _Histogram:
    n_codes = len(exact)
    counts = np.bincount(keys, minlength=n_codes)
    valued = ~np.isnan(values)
    keys, values = keys[valued], values[valued]
    other = np.bincount(keys[(values != 0) & (values != 1)], minlength=n_codes)
    numbers = (keys.astype(np.int64) << _BINS) | _bin(values, exact[keys])
    bins, weights = np.unique(numbers, return_counts=True)
    return _Histogram(counts, other, bins, weights)


def _merge(parts: Iterable[_Histogram], n_codes: int) -> _Histogram:
    """Sum of histograms; equal whatever the order, as counts are integers."""
    counts = other = np.zeros(n_codes, dtype=np.int64)
    bins = weights = np.zeros(0, dtype=np.int64)
    for part in parts:
        counts, other = counts + part.counts, other + part.not_binary
        bins, place = np.unique(np.concatenate((bins, part.bins)), return_inverse=True)
        joined = np.concatenate((weights, part.weights))
        weights = np.zeros(len(bins), dtype=np.int64)
        np.add.at(weights, place, joined)
    return _Histogram(counts, other, bins, weights)


def _bin(values: Array, exact: NDArray[np.bool_]) -> Array:
    """The bin of float32 values, in the order of the values, int64; its own one where exact."""
    bits = values.view(np.uint32)
    bits = np.where(exact, bits, bits >> np.uint32(_DROPPED_BITS) << np.uint32(_DROPPED_BITS))
    negative = bits >> np.uint32(31) == 1
    ordered = np.where(negative, ~bits, bits | np.uint32(1 << 31))
    return ordered.astype(np.int64)


def _representative(bins: Array) -> Array:
    """The float32 value of a bin: the one in it that is nearest to 0."""
    ordered = bins.astype(np.uint32)
    positive = ordered >> np.uint32(31) == 1
    bits = np.where(positive, ordered & np.uint32(0x7FFFFFFF), ~ordered)
    return np.asarray(bits.view(np.float32) + np.float32(0))


def _of_code(histogram: _Histogram, code: int) -> tuple[Array, Array]:
    first, last = np.searchsorted(histogram.bins, [code << _BINS, (code + 1) << _BINS])
    bins = histogram.bins[first:last] & ((1 << _BINS) - 1)
    return _representative(bins), histogram.weights[first:last]


def _kind(name: str, code: int, given: Mapping[str, Kind], histogram: _Histogram) -> Kind:
    if name in given:
        return given[name]
    seen = histogram.counts[code] > 0
    return "binary" if seen and not histogram.not_binary[code] else "numeric"


def _quantiles(name: str, kind: Kind, values: Array, weights: Array) -> NDArray[np.float32]:
    if kind == "presence":
        return np.zeros(0, dtype=np.float32)
    if kind == "binary":
        return np.array([0, 1], dtype=np.float32)
    if kind == "category":
        if len(values) > MOST_CLASSES:
            raise InputError(
                f"category {name!r:.60} has {len(values)} classes, expected at most {MOST_CLASSES}",
                mend="leave it out of --categories",
            )
        return np.asarray(values, dtype=np.float32)
    if not len(values):
        return np.zeros(len(LEVELS), dtype=np.float32)
    reached = np.cumsum(weights)
    place = np.searchsorted(reached, LEVELS * reached[-1])
    return np.asarray(values[np.minimum(place, len(values) - 1)], dtype=np.float32)


def _moments(
    jobs: Sequence[ShardRows],
    numeric: Array,
    low: Array,
    high: Array,
    workers: int | str | Crew | None,
) -> tuple[Array, Array]:
    """Mean and population standard deviation of clipped values; 0 and 1 where not numeric."""
    count, mean, squares = (np.zeros(len(numeric)) for _ in range(3))
    one = partial(_shard_moments, numeric=numeric, low=low, high=high)
    for n, m, s in map_ordered(one, jobs, workers=workers):
        total = np.maximum(count + n, 1)
        delta = m - mean
        squares += s + delta**2 * count * n / total
        mean += delta * n / total
        count += n
    std = np.sqrt(squares / np.maximum(count, 1))
    return np.where(numeric, mean, 0.0), np.where(numeric & (count > 0), std, 1.0)


def _shard_moments(
    job: ShardRows, *, numeric: Array, low: Array, high: Array
) -> tuple[Array, Array, Array]:
    def clipped() -> Iterator[tuple[Array, Array]]:
        for keys, values in job.elements():
            chosen = numeric[keys] & ~np.isnan(values)
            keys, values = keys[chosen], values[chosen]
            yield keys, np.clip(values, low[keys], high[keys]).astype(np.float64)

    count, total, squares = (np.zeros(len(numeric)) for _ in range(3))
    for keys, values in clipped():
        count += np.bincount(keys, minlength=len(numeric))
        total = _added(total, keys, values)
    mean = total / np.maximum(count, 1)
    for keys, values in clipped():
        squares = _added(squares, keys, (values - mean[keys]) ** 2)
    return count, mean, squares


def _added(total: Array, keys: Array, values: Array) -> Array:
    """Sums a code that go on where they stand, so that pieces add up to the bits of the whole."""
    codes = np.arange(len(total))
    weights = np.concatenate((total, values))
    return np.bincount(np.concatenate((codes, keys)), weights, minlength=len(total))


def _warn_constant(codes: tuple[str, ...], constant: Array) -> None:
    names = [codes[i] for i in np.flatnonzero(constant)]
    if names:
        shown = ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
        many = counted(len(names), "code")
        _log.warning("%s with one value in training, divided by 1 (%s)", many, shown)
