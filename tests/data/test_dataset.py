from __future__ import annotations

import gc
import logging
import pickle
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from setvae_cli.data.batch import MOST_ROWS, Rectangles, SetBatch, rectangles
from setvae_cli.data.dataset import SetDataset
from setvae_cli.data.sampler import BatchRequest, EpochSampler
from setvae_cli.data.standardise import Standardiser
from setvae_cli.errors import InputError
from setvae_cli.sources.records import Records
from setvae_cli.store import writer
from setvae_cli.store.reader import Store
from setvae_cli.store.vocabulary import Vocabulary
from tests.tiny import TinySource, cohort, records, write


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Forty subjects in several shards."""
    path = tmp_path_factory.mktemp("data") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "SHARD_ELEMENTS", 150)
        write(cohort(), path)
    store = Store.open(path)
    assert store.columns.shard.max() > 0
    return store


def test_values_of_a_binary_code_that_training_never_saw_become_0_or_1(store: Store) -> None:
    flag = np.full(3, store.vocabulary.codes.index("flag"), dtype=np.int32)
    standardise = Standardiser.between(store.vocabulary, store.vocabulary)
    values = standardise(flag, np.array([7.5, -3.0, 1.0], dtype=np.float32))[1]
    assert values.tolist() == [1.0, 0.0, 1.0]


def request(rows: Any, *, epoch: int = 0, batch: int = 0) -> BatchRequest:
    rows = np.asarray(rows, dtype=np.int64)
    return BatchRequest(rows, epoch, batch, np.arange(len(rows)), len(rows), (len(rows),))


def subjects(batch: SetBatch) -> list[tuple[int, list[tuple[float, list[tuple[int, float]]]]]]:
    """Each subject as (row, sets of (position, elements))."""
    events = list(zip(batch.keys.tolist(), batch.values.tolist(), strict=True))
    found, s, e = [], 0, 0
    for row, sets in zip(batch.rows.tolist(), batch.sets_per_subject.tolist(), strict=True):
        content = []
        for _ in range(sets):
            size = int(batch.set_sizes[s])
            content.append((float(batch.positions[s, 0]), events[e : e + size]))
            s, e = s + 1, e + size
        found.append((row, content))
    assert (s, e) == (len(batch.set_sizes), len(events))
    return found


def one_by_one(store: Store, vocabulary: Vocabulary, row: int) -> list[Any]:
    """The sets of one row, standardised in a loop."""
    shard = store.shard(int(store.columns.shard[row]))
    place = store.columns.row_in_shard[row]
    sets = []
    for s in range(shard.row_offsets[place], shard.row_offsets[place + 1]):
        elements = []
        for e in range(shard.set_offsets[s], shard.set_offsets[s + 1]):
            name, value = store.vocabulary.codes[shard.keys[e]], shard.values[e]
            key = vocabulary.codes.index(name)
            kind, quantiles = vocabulary.kinds[key], vocabulary.quantiles[key]
            if kind == "numeric":
                value = min(max(value, quantiles[0]), quantiles[-1])
                value = (value - vocabulary.mean[key]) / vocabulary.std[key]
            elements.append((key, 0.0 if kind == "presence" else float(value)))
        sets.append((float(shard.positions[s, 0]), elements))
    return sets


def assert_equal(found: list[Any], wanted: list[Any]) -> None:
    assert [(p, [k for k, _ in events]) for p, events in found] == [
        (p, [k for k, _ in events]) for p, events in wanted
    ]
    flat = [[v for _, events in sets for _, v in events] for sets in (found, wanted)]
    np.testing.assert_allclose(flat[0], flat[1], rtol=1e-5, atol=1e-6)


def test_a_batch_holds_its_subjects_in_the_order_asked_for(store: Store) -> None:
    dataset = SetDataset(store, store.vocabulary, np.arange(40), tasks=("death",))
    rows = [31, 2, 17, 39, 0, 5]
    batch = dataset[request(rows)]
    found = subjects(batch)
    assert [row for row, _ in found] == rows
    for row, sets in found:
        assert_equal(sets, one_by_one(store, store.vocabulary, row))
    assert batch.labels[:, 0].tolist() == [0, 0, 0, 0, 1, 1]
    presence = store.vocabulary.codes.index("note")
    assert torch.equal(batch.value_mask, batch.keys != presence)


def test_a_batch_is_the_sum_of_its_subjects(store: Store) -> None:
    dataset = SetDataset(store, store.vocabulary, np.arange(40))
    together = subjects(dataset.batch(request(range(40))))
    alone = [subjects(dataset.batch(request([row])))[0] for row in range(40)]
    assert together == alone


def test_the_plan_says_where_everything_is(store: Store) -> None:
    dataset = SetDataset(store, store.vocabulary, np.arange(40), plan_sets=True)
    batch = dataset.batch(request([3, 30, 12]))
    plan = batch.plan
    assert (plan.subjects, plan.sets, plan.elements) == (
        3, len(batch.set_sizes), len(batch.keys)
    )  # fmt: skip
    assert torch.equal(torch.bincount(plan.element_set), batch.set_sizes)
    assert torch.equal(torch.bincount(plan.set_subject), batch.sets_per_subject)
    assert torch.equal(plan.element_set[plan.set_start], torch.arange(plan.sets))
    assert torch.equal(plan.set_subject[plan.subject_start], torch.arange(3))
    assert plan.by_set is not None
    assert SetDataset(store, store.vocabulary, np.arange(4)).batch(request([0])).plan.by_set is None


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_rectangles_cover_every_item_exactly_once(sizes: list[int]) -> None:
    plan: Rectangles = rectangles(torch.tensor(sizes))
    cells = plan.cells
    real = torch.cat(
        [
            torch.ones(b.cells, dtype=torch.bool) if b.mask is None else b.mask.reshape(-1)
            for b in plan.buckets
        ]
    )
    assert sorted(cells[real].tolist()) == list(range(sum(sizes)))
    assert torch.equal(cells[plan.inverse], torch.arange(sum(sizes)))
    assert real[plan.inverse].all()
    groups = torch.cat([bucket.groups for bucket in plan.buckets])
    assert torch.equal(groups[plan.group_inverse], torch.arange(len(sizes)))
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    of_buckets = cells.split([bucket.cells for bucket in plan.buckets])
    for bucket, own in zip(plan.buckets, of_buckets, strict=True):
        index = own.view(-1, bucket.width)
        assert torch.equal(owner[index], bucket.groups[:, None].expand_as(index))
    assert plan.longest == max(sizes)
    assert plan.offsets.diff().tolist() == sizes


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_padding_is_at_most_a_fifth_of_the_attention_of_each_bucket(sizes: list[int]) -> None:
    for bucket in rectangles(torch.tensor(sizes)).buckets:
        real = sum(sizes[group] ** 2 for group in bucket.groups.tolist())
        assert real >= 0.8 * len(bucket.groups) * bucket.width**2


def test_a_bucket_has_no_more_rows_than_a_kernel_takes() -> None:
    plan = rectangles(torch.ones(2 * MOST_ROWS + 1, dtype=torch.int64))
    assert [len(bucket.groups) for bucket in plan.buckets] == [MOST_ROWS, MOST_ROWS, 1]


@pytest.mark.parametrize("truncate", ["latest", "earliest", "random"])
def test_truncation_keeps_whole_sets_next_to_each_other(store: Store, truncate: Any) -> None:
    limit = 9
    whole = subjects(SetDataset(store, store.vocabulary, np.arange(40)).batch(request(range(40))))
    dataset = SetDataset(
        store, store.vocabulary, np.arange(40), max_sequence_length=limit, truncate=truncate
    )
    starts = set()
    for epoch in range(6):
        short = subjects(dataset.batch(request(range(40), epoch=epoch)))
        for (_, full), (_, kept) in zip(whole, short, strict=True):
            size = sum(len(events) for _, events in kept)
            first = next(i for i in range(len(full)) if full[i] == kept[0])
            starts.add((_, first))
            assert kept == full[first : first + len(kept)]
            assert size <= limit
            outside = {"latest": first - 1, "earliest": len(kept)}.get(truncate, -1)
            if truncate == "latest":
                assert kept[-1] == full[-1]
            if truncate == "earliest":
                assert first == 0
            if truncate != "random" and 0 <= outside < len(full):
                assert size + len(full[outside][1]) > limit
    assert (len(starts) > 40) == (truncate == "random")


@pytest.mark.parametrize("truncate", ["latest", "earliest", "random"])
def test_a_single_set_above_the_limit_is_cut_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, truncate: Any
) -> None:
    events = [(f"s{i}", 0.0, f"c{j}", float(i + j)) for i in range(20) for j in range(12)]
    write(TinySource([records(events)]), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    with caplog.at_level(logging.WARNING):
        dataset = SetDataset(
            store, store.vocabulary, store.split("train"), max_sequence_length=5, truncate=truncate
        )
    batch = dataset.batch(request([0, 1, 2]))
    assert batch.set_sizes.tolist() == [5, 5, 5]
    assert dataset.n_elements.tolist() == [5] * len(dataset)
    assert ("cut to 5 elements" in caplog.text) == (truncate != "random")


def test_a_store_in_another_order_of_codes_gives_the_same_events(store: Store) -> None:
    own = store.vocabulary
    order = [3, 0, 4, 2, 1]
    model = Vocabulary(
        tuple(own.codes[i] for i in order), tuple(own.kinds[i] for i in order), own.counts[order],
        own.mean[order], own.std[order], tuple(own.quantiles[i] for i in order),
    )  # fmt: skip
    first = SetDataset(store, own, np.arange(40)).batch(request(range(40)))
    other = SetDataset(store, model, np.arange(40)).batch(request(range(40)))
    assert torch.equal(torch.tensor(order)[other.keys.long()], first.keys.long())
    assert torch.equal(other.values, first.values)


def unseen(vocabulary: Vocabulary, *names: str) -> Vocabulary:
    counts = vocabulary.counts.copy()
    counts[[vocabulary.codes.index(name) for name in names]] = 0
    return replace(vocabulary, counts=counts)


@pytest.mark.parametrize("truncate", ["latest", "random"])
def test_codes_unknown_to_the_model_are_left_out_and_counted(
    store: Store, caplog: pytest.LogCaptureFixture, truncate: Any
) -> None:
    model = unseen(store.vocabulary, "note")
    with caplog.at_level(logging.WARNING):
        dataset = SetDataset(store, model, np.arange(40), max_sequence_length=6, truncate=truncate)
    batch = dataset.batch(request(range(40)))
    assert (batch.keys != store.vocabulary.codes.index("note")).all()
    assert (batch.set_sizes > 0).all()
    assert (batch.sets_per_subject > 0).all()
    assert 0 < dataset.unmatched < 0.2
    told = r"\d+ of \d+ events \(\d+\.\d %\) have codes never seen in training \(note\); left out"
    assert re.search(told, caplog.text)


@pytest.mark.parametrize("truncate", ["latest", "random"])
def test_subjects_the_model_knows_nothing_of_are_left_out(tmp_path: Path, truncate: Any) -> None:
    events = [(f"s{i}", float(t), "new" if i < 3 or t == 8 else "lab", float(i + t))
              for i in range(40) for t in range(10)]  # fmt: skip
    write(TinySource([records(events)]), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    model = unseen(store.vocabulary, "new")
    foreign = replace(store.vocabulary, codes=("glucose", "new"))
    with pytest.raises(InputError, match="knows 17 % of the events"):
        SetDataset(store, foreign, np.arange(40))
    dataset = SetDataset(
        store, model, np.arange(1, 40), max_sequence_length=1 + (truncate == "latest"),
        truncate=truncate,
    )  # fmt: skip
    assert dataset.excluded == 2
    assert len(dataset) == 37
    for epoch in range(5):
        batch = dataset.batch(request(range(37), epoch=epoch))
        assert (batch.sets_per_subject > 0).all()


def test_an_outlier_is_clipped_and_a_value_at_its_mean_is_zero(tmp_path: Path) -> None:
    events = [(f"s{i}", 0.0, "lab", float(v)) for i, v in enumerate([*range(39), 1e6])]
    part = records(events, split=["train"] * 30 + ["validation"] * 5 + ["test"] * 5)
    write(TinySource([part]), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    batch = SetDataset(store, store.vocabulary, store.split("test")).batch(request(range(5)))
    known = store.vocabulary
    highest = (known.quantiles[0][-1] - known.mean[0]) / known.std[0]
    assert batch.values[-1] == pytest.approx(highest)
    assert batch.value_mask.all()


def test_hiding_is_a_function_of_the_place_and_never_empties_a_subject(store: Store) -> None:
    dataset = SetDataset(store, store.vocabulary, np.arange(40), hide_rate=0.9, seed=3)
    whole = SetDataset(store, store.vocabulary, np.arange(40)).batch(request(range(40)))
    shares = []
    for epoch in range(30):
        batch = dataset.batch(request(range(40), epoch=epoch))
        assert (batch.set_sizes > 0).all()
        assert (batch.sets_per_subject > 0).all()
        shares.append(1 - len(batch.keys) / len(whole.keys))
    assert np.mean(shares) == pytest.approx(0.45, abs=0.03)
    ask = request(range(40), epoch=2)
    again = dataset.batch(ask)
    part = dataset.batch(replace(ask, rows=ask.rows[10:20], places=ask.places[10:20]))
    assert subjects(again)[10:20] == subjects(part)


def test_a_dataset_pickles_small_and_gives_the_same_batches(store: Store) -> None:
    dataset = SetDataset(store, store.vocabulary, np.arange(3, 40), tasks=("death",))
    dataset.batch(request([0]))
    content = pickle.dumps(dataset)
    assert len(content) < 10_000
    again = pickle.loads(content)
    assert len(again) == 37
    first, second = dataset.batch(request([5, 1])), again.batch(request([5, 1]))
    assert subjects(first) == subjects(second)
    assert torch.equal(first.labels, second.labels)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Many subjects with one event each, of many codes."""
    path, n = tmp_path_factory.mktemp("wide") / "store", 100_000
    numbers = np.arange(n)
    events = {
        "subject": pa.array(numbers, pa.int32()),
        "time": pa.array(np.zeros(n)),
        "code": pa.DictionaryArray.from_arrays(
            pa.array(numbers % 7000, pa.int32()), pa.array([f"c{i}" for i in range(7000)])
        ),
        "value": pa.array(np.random.default_rng(0).normal(50, 20, n)),
    }
    subjects = {"subject_id": pa.array([f"s{i}" for i in range(n)])}
    write(TinySource([Records(pa.table(subjects), pa.table(events))]), path)
    return Store.open(path)


@pytest.mark.parametrize("refitted", [False, True])
def test_a_dataset_of_many_rows_and_codes_pickles_small(wide: Store, refitted: bool) -> None:
    own = wide.vocabulary
    model = replace(own, mean=own.mean * 1.01, std=own.std * 0.99) if refitted else own
    dataset = SetDataset(wide, model, wide.split("train"), hide_rate=0.5)
    content = pickle.dumps(dataset)
    assert (len(wide), len(own.codes)) == (100_000, 7000)
    assert len(content) < 100_000
    again = pickle.loads(content)
    assert again.rows.tolist() == dataset.rows.tolist()
    ask = request(range(0, 60_000, 10))
    assert torch.equal(again.batch(ask).values, dataset.batch(ask).values)


def test_a_standardiser_is_told_beside_another_bit_for_bit(store: Store) -> None:
    own = store.vocabulary
    theirs = replace(
        unseen(own, "note"), codes=own.codes[::-1], mean=own.mean - 0.3, std=own.std * 2
    )
    plain, other = Standardiser.between(own, own), Standardiser.between(own, theirs)
    again = plain.changed(other.beside(plain))
    assert again.key.tolist() == other.key.tolist()
    assert again.key.dtype == other.key.dtype
    assert again.statistics.tobytes() == other.statistics.tobytes()


def test_a_batch_leaves_nothing_behind(store: Store) -> None:
    dataset = SetDataset(
        store, unseen(store.vocabulary, "note"), np.arange(40), tasks=("death",), hide_rate=0.5,
        max_sequence_length=6, truncate="random", plan_sets=True,
    )  # fmt: skip
    sampler = EpochSampler(dataset.n_elements, dataset.labels >= 0, 8, seed=0)

    def epochs(first: int, last: int) -> None:
        for sampler.epoch in range(first, last):
            for ask in sampler:
                dataset.batch(ask)

    epochs(0, 2)
    content = pickle.dumps(dataset)
    tracemalloc.start()
    epochs(2, 4)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    epochs(4, 14)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 50_000  # fifty batches, of several thousand bytes each
    assert pickle.dumps(dataset) == content


def test_an_unknown_task_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="no label 'sepsis'"):
        SetDataset(store, store.vocabulary, np.arange(4), tasks=("sepsis",))


def test_a_missing_label_is_masked_and_never_zero(tmp_path: Path) -> None:
    source = cohort()
    assert source.outcomes is not None
    known = source.outcomes.table.slice(0, 30)
    write(replace(source, outcomes=replace(source.outcomes, table=known)), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    batch = SetDataset(store, store.vocabulary, np.arange(40), tasks=("death",)).batch(
        request(range(40))
    )
    assert batch.label_mask[:, 0].tolist() == [True] * 30 + [False] * 10
    assert batch.labels[30:, 0].tolist() == [-1] * 10


def test_all_epochs_of_a_sampler_can_be_gathered(store: Store) -> None:
    rows = store.split("train")
    dataset = SetDataset(store, store.vocabulary, rows, tasks=("death",), hide_rate=0.3)
    sampler = EpochSampler(dataset.n_elements, dataset.labels >= 0, 8, 2, seed=0)
    seen = [row for ask in sampler for row in dataset.batch(ask).rows.tolist()]
    assert sorted(seen) == rows.tolist()
