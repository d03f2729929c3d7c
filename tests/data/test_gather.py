"""Batches beside a plain implementation of the same rules: a loop over subjects, sets, events."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from setvae_cli.data.batch import rectangles
from setvae_cli.data.dataset import HIDE_DRAW, HIDE_RATE_DRAW, WINDOW_DRAW, SetDataset
from setvae_cli.data.gather import by_shard, ranges
from setvae_cli.data.sampler import BatchRequest
from setvae_cli.store import writer
from setvae_cli.store.reader import Store
from setvae_cli.store.vocabulary import Vocabulary
from tests.tiny import cohort, write

MASK = (1 << 64) - 1
SEED = 5
Event = tuple[int, np.float32]  # the store's code, raw value
Set = tuple[np.float32, list[Event]]  # position, events


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Sixty subjects in several shards."""
    path: Path = tmp_path_factory.mktemp("gather") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "SHARD_ELEMENTS", 100)
        write(cohort(60, parts=6), path)
    store = Store.open(path)
    assert store.columns.shard.max() > 1
    return store


def foreign(own: Vocabulary) -> Vocabulary:
    """Another order of codes, other statistics, one code never seen in training."""
    order = [3, 0, 4, 2, 1]
    counts = own.counts[order]
    counts[order.index(own.codes.index("note"))] = 0
    return Vocabulary(
        tuple(own.codes[i] for i in order), tuple(own.kinds[i] for i in order), counts,
        own.mean[order] + 0.1, own.std[order] * 1.3, tuple(own.quantiles[i] for i in order),
    )  # fmt: skip


def mixed(x: int) -> int:
    """The finalizer of splitmix64."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def uniform(request: BatchRequest, place: int, index: int, draw: int) -> np.float32:
    state, golden = 0, 0x9E3779B97F4A7C15
    for number in (SEED, request.epoch, request.batch, draw):
        state = mixed((state + golden * (number + 1)) & MASK)
    state = mixed((place * golden + state) & MASK)
    return np.float32((mixed((index * golden + state) & MASK) >> 40) / 2**24)


@dataclass(frozen=True)
class Plain:
    """One subject at a time."""

    store: Store
    model: Vocabulary
    limit: int | None
    truncate: str
    hide_rate: float

    def subject(self, row: int, place: int, request: BatchRequest) -> list[Set]:
        sets = list(self.stored(row))
        kept = self.known(self.window(sets, place, request))
        if not kept:  # a random window without a known event
            kept = self.known(latest(sets, self.limit))
        return self.seen(kept, place, request)

    def stored(self, row: int) -> Iterator[Set]:
        shard = self.store.shard(int(self.store.columns.shard[row]))
        inside = int(self.store.columns.row_in_shard[row])
        for s in range(shard.row_offsets[inside], shard.row_offsets[inside + 1]):
            elements = range(shard.set_offsets[s], shard.set_offsets[s + 1])
            yield shard.positions[s, 0], [(int(shard.keys[e]), shard.values[e]) for e in elements]

    def window(self, sets: list[Set], place: int, request: BatchRequest) -> list[Set]:
        limit = self.limit
        if limit is None or sum(len(events) for _, events in sets) <= limit:
            return sets
        if self.truncate == "latest":
            return latest(sets, limit)
        if self.truncate == "earliest":
            return earliest(sets, limit)
        choices = len(sets) - len(latest(sets, limit)) + 1
        draw = float(uniform(request, place, 0, WINDOW_DRAW))
        return earliest(sets[min(int(draw * choices), choices - 1) :], limit)

    def known(self, sets: list[Set]) -> list[Set]:
        key = self.model.match(self.store.vocabulary.codes)
        left = [(t, [event for event in events if key[event[0]] >= 0]) for t, events in sets]
        return [(t, events) for t, events in left if events]

    def seen(self, sets: list[Set], place: int, request: BatchRequest) -> list[Set]:
        if not self.hide_rate:
            return sets
        rate = uniform(request, place, 0, HIDE_RATE_DRAW) * np.float32(self.hide_rate)
        number, left = itertools.count(), []
        for t, events in sets:
            draws = [uniform(request, place, next(number), HIDE_DRAW) for _ in events]
            left.append((t, [e for e, draw in zip(events, draws, strict=True) if draw >= rate]))
        left = [(t, events) for t, events in left if events]
        return left or sets

    def standardised(self, code: int, value: np.float32) -> tuple[int, np.float32, bool]:
        key = self.model.codes.index(self.store.vocabulary.codes[code])
        kind, quantiles = self.model.kinds[key], self.model.quantiles[key]
        if kind == "presence" or np.isnan(value):
            return key, np.float32(0), False
        if kind == "numeric":
            value = min(max(value, quantiles[0]), quantiles[-1])
            value = (value - np.float32(self.model.mean[key])) * np.float32(1 / self.model.std[key])
        if kind == "binary":
            value = min(max(value, np.float32(0)), np.float32(1))
        return key, value, True


def latest(sets: list[Set], limit: int | None) -> list[Set]:
    """The longest end that fits; a last set that does not fit is cut."""
    return earliest(sets[::-1], limit)[::-1]


def earliest(sets: list[Set], limit: int | None) -> list[Set]:
    """The longest beginning that fits; a first set that does not fit is cut."""
    if limit is None:
        return sets
    kept, size = [], 0
    for t, events in sets:
        size += len(events)
        if size > limit:
            break
        kept.append((t, events))
    return kept or [(sets[0][0], sets[0][1][:limit])]


TRUNCATE, LIMITS, HIDE_RATES = ("latest", "earliest", "random"), (None, 2, 9), (0.0, 0.5, 0.99)
OPTIONS = list(itertools.product(TRUNCATE, LIMITS, HIDE_RATES, (True, False)))


@pytest.mark.parametrize(("truncate", "limit", "hide_rate", "own"), OPTIONS)
def test_a_batch_is_bit_for_bit_what_a_loop_over_events_makes(
    store: Store, truncate: Any, limit: int | None, hide_rate: float, own: bool
) -> None:
    model = store.vocabulary if own else foreign(store.vocabulary)
    dataset = SetDataset(
        store, model, np.arange(2, 60), tasks=("death",), max_sequence_length=limit,
        truncate=truncate, seed=SEED, hide_rate=hide_rate,
    )  # fmt: skip
    plain = Plain(store, model, limit, truncate, hide_rate)
    generator = np.random.default_rng(0)
    for size in (1, 8, 40):
        items, places = generator.integers(0, len(dataset), size), generator.permutation(90)[:size]
        request = BatchRequest(items, 3, 11, places, size, (size,))
        rows = dataset.rows[items]
        wanted = [
            plain.subject(int(row), int(place), request)
            for row, place in zip(rows, places, strict=True)
        ]
        sets = list(itertools.chain(*wanted))
        events = [plain.standardised(*event) for _, part in sets for event in part]
        batch = dataset.batch(request)
        assert batch.keys.tolist() == [key for key, _, _ in events]
        found = batch.values.numpy().view(np.uint32)
        assert (found == np.array([z for _, z, _ in events], np.float32).view(np.uint32)).all()
        assert batch.value_mask.tolist() == [has for _, _, has in events]
        assert batch.set_sizes.tolist() == [len(part) for _, part in sets]
        assert batch.positions[:, 0].tolist() == [t for t, _ in sets]
        assert batch.sets_per_subject.tolist() == [len(subject) for subject in wanted]
        assert batch.rows.tolist() == rows.tolist()
        assert batch.labels.tolist() == store.labels[rows].tolist()


@pytest.mark.parametrize("items", [[4], [4, 5], list(range(60))])
def test_what_is_written_into_a_batch_reaches_neither_store_nor_dataset(
    store: Store, items: list[int]
) -> None:
    dataset = SetDataset(store, store.vocabulary, np.arange(60), tasks=("death",))
    size = len(items)
    request = BatchRequest(np.array(items), 0, 0, np.arange(size), size, (size,))
    names = ("keys", "values", "value_mask", "set_sizes", "positions", "rows", "labels")
    batch, untouched = dataset.batch(request), dataset.batch(request)
    for name in names:
        getattr(batch, name).fill_(1)
    again = dataset.batch(request)
    for name in names:
        assert torch.equal(getattr(again, name), getattr(untouched, name))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=50), st.sampled_from([0.0, 0.15, 0.5]))
def test_rectangles_are_those_of_a_loop_over_groups(sizes: list[int], max_waste: float) -> None:
    buckets: list[list[int]] = []
    for size in sorted(set(sizes)):
        mine = [group for group, each in enumerate(sizes) if each == size]
        joined = [*buckets[-1], *mine] if buckets else mine
        pairs = size**2 * len(joined)
        waste = pairs - sum(sizes[group] ** 2 for group in joined)
        alone = not buckets or sizes[buckets[-1][0]] == 1 or waste > max_waste * pairs
        buckets = [*buckets, mine] if alone else [*buckets[:-1], joined]
    found = rectangles(torch.tensor(sizes), max_waste=max_waste)
    assert [bucket.groups.tolist() for bucket in found.buckets] == buckets
    place, found_cells = itertools.count(), 0
    inverse = [0] * sum(sizes)
    for bucket, groups in zip(found.buckets, buckets, strict=True):
        width = max(sizes[group] for group in groups)
        for row, group in enumerate(groups):
            start = sum(sizes[:group])
            cells = [start + min(cell, sizes[group] - 1) for cell in range(width)]
            first = found_cells + row * width
            assert found.cells[first : first + width].tolist() == cells
            for cell, number in zip(range(width), place, strict=False):
                if cell < sizes[group]:
                    inverse[start + cell] = number
        found_cells += len(groups) * width
        real = [[cell < sizes[group] for cell in range(width)] for group in groups]
        assert (bucket.mask is None) == all(map(all, real))
        assert bucket.mask is None or bucket.mask.tolist() == real
    assert found.inverse.tolist() == inverse
    order = list(itertools.chain(*buckets))
    assert found.group_inverse.tolist() == [order.index(group) for group in range(len(sizes))]


def test_places_are_told_by_shard() -> None:
    found = {number: mine.tolist() for number, mine in by_shard(np.array([3, 0, 3, 0, 7]))}
    assert found == {0: [1, 3], 3: [0, 2], 7: [4]}
    assert list(by_shard(np.array([], dtype=np.int64))) == []


def test_ranges_of_nothing_are_nothing() -> None:
    nothing = np.array([], dtype=np.int64)
    assert ranges(nothing, nothing).tolist() == []
    assert ranges(np.array([4, 9]), np.array([0, 2])).tolist() == [9, 10]
