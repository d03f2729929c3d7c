"""The loader's benchmark: fair order, honest counts, and what it concludes; no time is asserted."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import re
from collections import Counter
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.benchmark.made_up import ORIGINALS, record
from tests.training.stores import SIZES, write_store

from setvae_cli.benchmark import page_cache
from setvae_cli.benchmark.loader import BenchmarkStarted, Measuring, benchmark_loader, rounds, tried
from setvae_cli.benchmark.loader_advice import advise, bottleneck, milliseconds, recommend
from setvae_cli.benchmark.loader_pass import tensor_bytes
from setvae_cli.benchmark.loader_record import (
    Configuration,
    LoaderRecord,
    LoadPass,
    summarise,
)
from setvae_cli.data.datamodule import SetDataModule
from setvae_cli.errors import SettingsError
from setvae_cli.settings.command import BenchmarkLoaderSettings
from setvae_cli.store.reader import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("store"))


def build(**options: object) -> BenchmarkLoaderSettings:
    return BenchmarkLoaderSettings.from_flat({"preset": "tiny", "device": "cpu", **options})


def best(*records: LoaderRecord) -> LoaderRecord:
    (only,) = (one for one in recommend(records) if one.best)
    return only


@given(st.integers(1, 6), st.integers(1, 20))
def test_every_configuration_is_measured_once_a_round(kinds: int, repeats: int) -> None:
    made = list(rounds(range(kinds), repeats))
    assert len(made) == repeats
    assert all(sorted(one) == list(range(kinds)) for one in made)


@given(st.integers(2, 6))
def test_every_configuration_begins_a_round_and_none_always_follows_another(kinds: int) -> None:
    made = list(rounds(range(kinds), kinds))
    assert sorted(one[0] for one in made) == list(range(kinds))
    followers = Counter(pair for one in made for pair in pairwise(one))
    assert max(followers.values()) < kinds


@pytest.mark.parametrize(
    ("cores", "expected"),
    [(1, [0, 1]), (2, [0, 1, 2]), (3, [0, 1, 2]), (16, [0, 1, 2, 4, 8]), (96, [0, 1, 2, 4, 8])],
)
def test_workers_tried_by_default_follow_the_cores(cores: int, expected: list[int]) -> None:
    assert [one.workers for one in tried(build(), usable_cores=cores)] == expected


def test_all_combinations_are_tried() -> None:
    settings = build(num_workers=[2, 0, 2], cache="both", batch_size=[8, 4])
    made = tried(settings, usable_cores=1)
    assert len(made) == len(set(made)) == 8
    assert {(one.workers, one.cache, one.batch_size) for one in made} == {
        (workers, cache, size)
        for workers in (0, 2)
        for cache in ("warm", "cold")
        for size in (4, 8)
    }


@pytest.fixture(scope="module")
def measured(store: Store) -> tuple[list[object], tuple[LoaderRecord, ...]]:
    """A small benchmark of everything: what it said on the way, and its records."""
    said: list[object] = []
    settings = build(num_workers=[0, 1], cache="both", num_batches=3, repeats=2, with_model=True)
    return said, benchmark_loader(settings, store, said.append)


def test_passes_are_interleaved_and_every_configuration_is_measured_equally_often(
    measured,
) -> None:
    passes = [one for one in measured[0] if isinstance(one, Measuring)]
    assert [one.doing for one in passes] == [
        "warming up",
        *("0 workers, warm", "1 worker, warm", "0 workers, cold", "1 worker, cold"),
        "training steps",
        *("1 worker, warm", "0 workers, warm", "training steps"),
        *("1 worker, cold", "0 workers, cold"),
    ]
    assert [one.done for one in passes] == [0, *range(10)]
    assert {one.total for one in passes} == {10}
    assert {one.repeats for one in measured[1]} == {2}


def test_no_configuration_warms_the_page_cache_for_the_next(measured) -> None:
    for cache, expected in (("warm", {1.0, None}), ("cold", {0.0, 1.0, None})):  # 1: in memory only
        shares = {one.cached_share for one in measured[1] if one.cache == cache}
        assert len(shares) == 1
        assert shares <= expected


def test_what_is_measured_is_said_first(measured) -> None:
    started = measured[0][0]
    assert isinstance(started, BenchmarkStarted)
    assert started.passes == "4 configurations, interleaved, 2 x 3 batches each"
    assert started.model is not None


def test_elements_and_bytes_are_those_of_the_batches_after_the_first(store, measured) -> None:
    settings = build().training(4, 0)
    hide_rate = settings.model.input_dropout
    data = SetDataModule(
        store, store.vocabulary, settings.loader, tasks=store.tasks, seed=0, hide_rate=hide_rate
    )
    timed = list(data.train_dataloader())[1:4]
    elements, size = sum(len(one.keys) for one in timed), sum(map(tensor_bytes, timed))
    for one in measured[1]:
        assert (one.batches, one.elements) == (3, elements)
        assert 1e6 * one.mb_per_s / one.elements_per_s == pytest.approx(size / elements)


def test_no_worker_outlives_its_pass(measured) -> None:
    assert multiprocessing.active_children() == []


def test_records_hold_every_field_and_only_finite_numbers(measured) -> None:
    names = {field.name for field in fields(LoaderRecord)}
    assert names >= ORIGINALS
    for one in measured[1]:
        numbers = [v for v in vars(one).values() if isinstance(v, float)]
        assert all(0 <= number < float("inf") for number in numbers)
        assert one.min_load_ms <= one.p50_ms <= one.p95_ms <= one.max_load_ms
        assert one.elements_per_s_min <= one.elements_per_s <= one.elements_per_s_max
        assert (one.device, one.avg_transfer_ms) == ("cpu", 0.0)
        assert one.step_ms is not None
    assert sum(one.best for one in measured[1]) == 1


def test_a_benchmark_leaves_the_global_generator_and_threads_alone(store) -> None:
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    benchmark_loader(build(num_workers=0, num_batches=1, repeats=1), store, lambda one: None)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_a_pass_is_at_most_one_epoch(store) -> None:
    settings = build(num_workers=0, num_batches=10_000, repeats=1)
    (one,) = benchmark_loader(settings, store, lambda one: None)
    assert one.batches == -(-SIZES["train"] // 4) - 1


def test_two_batches_an_epoch_suffice(store) -> None:
    settings = build(num_workers=0, batch_size=SIZES["train"] - 1, repeats=1)
    (one,) = benchmark_loader(settings, store, lambda one: None)
    assert (one.batches, one.subjects_per_batch) == (1, 1.0)


def test_a_batch_that_holds_everything_is_refused(store) -> None:
    settings = build(num_workers=0, batch_size=64)
    with pytest.raises(SettingsError, match=r"--batch-size: one batch holds the whole .*; cho"):
        benchmark_loader(settings, store, lambda one: None)


def test_an_element_budget_takes_the_place_of_the_batch_size(store) -> None:
    settings = build(num_workers=0, max_elements_per_batch=40, num_batches=2, repeats=1)
    (one,) = benchmark_loader(settings, store, lambda one: None)
    assert one.elements <= 2 * 40
    assert one.subjects_per_batch > 0
    with pytest.raises(ValueError, match="takes the place of batch_size"):
        build(max_elements_per_batch=40, batch_size=[4, 8])


def test_cold_is_refused_where_the_system_cannot_drop(store, monkeypatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise")
    with pytest.raises(SettingsError, match=r"--cache both: this system cannot drop .*; measure"):
        benchmark_loader(build(cache="both"), store, lambda one: None)


def test_asking_for_the_cached_share_reads_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (20 * mmap.PAGESIZE + 1))
    page_cache.drop([file])
    first = page_cache.cached_share([file])
    assert first == page_cache.cached_share([file])
    page_cache.fill([file])
    assert page_cache.cached_share([file]) in (None, 1.0)
    assert page_cache.cached_share([]) is None


def test_the_fastest_is_the_best() -> None:
    chosen = best(record(0, 1e6), record(2, 2e6), record(4, 1.5e6))
    assert (chosen.workers, chosen.reason) == (2, "the fastest")


def test_fewer_workers_are_preferred_within_noise() -> None:
    near = best(record(0, 1e6), record(1, 1.94e6), record(4, 2e6))
    assert near.workers == 1
    assert near.reason == "as fast as 4 within the noise of these passes"
    noisy = best(
        record(0, 1.5e6, elements_per_s_max=1.8e6), record(2, 2e6, elements_per_s_min=1.7e6)
    )
    assert noisy.workers == 0


def test_more_workers_are_never_preferred_to_the_fastest() -> None:
    assert best(record(0, 2e6), record(2, 1.99e6)).workers == 0


def test_a_slow_model_needs_no_workers() -> None:
    chosen = best(record(0, 1e6, step_ms=700.0), record(2, 9e6, step_ms=700.0))
    assert chosen.workers == 0
    assert chosen.reason == "a batch takes 1.0 ms to load, a training step 700 ms"
    line = "A training step takes 700 ms: the model is the bottleneck, not the loader."
    assert bottleneck(chosen) == line


def test_a_fast_model_waits_for_the_loader() -> None:
    chosen = best(record(0, 1e4, step_ms=20.0), record(2, 2e4, step_ms=20.0))
    assert chosen.workers == 2
    line = "A training step takes 20 ms and a batch 50 ms to load: the loader is the bottleneck."
    assert bottleneck(chosen) == line


def test_workers_that_keep_up_with_the_model_suffice() -> None:
    rates = {0: 2e4, 1: 6e4, 2: 1.2e5}  # 50, 17 and 8 ms beside a step of 20 ms
    assert best(*(record(n, rate, step_ms=20.0) for n, rate in rates.items())).workers == 1


def test_without_a_step_nothing_is_said_of_the_model() -> None:
    assert bottleneck(record(0, 1e6)) is None


def test_warm_records_decide_and_each_batch_size_has_its_best() -> None:
    cold = replace(record(4, 9e6), cache="cold")
    other = replace(record(2, 1e3), batch_size=32)
    marked = recommend([record(0, 1e6), cold, other])
    assert [one.best for one in marked] == [True, False, True]
    assert recommend([cold])[0].best


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"avg_load_ms": 1000.0}, None),
        ({"avg_load_ms": 1000.1}, r"Loading is slow \(1 000 ms a batch\): .*"),
        ({"avg_transfer_ms": 100.0}, None),
        ({"avg_transfer_ms": 100.1}, r"Moving a batch to the device is slow \(100 ms\): .*"),
        ({"avg_load_ms": 10.0, "std_load_ms": 5.0}, None),
        (
            {"avg_load_ms": 10.0, "std_load_ms": 5.1},
            r"Loading is unstable \(5\.1 ms around 10 ms\).*",
        ),
    ],
)
def test_the_originals_advice_is_given_beyond_its_bounds(changes, expected) -> None:
    found = advise(record(0, 1e6, **changes))
    assert len(found) == (expected is not None)
    assert expected is None or re.fullmatch(expected, found[0])


def test_a_summary_leaves_the_first_batch_out_and_pools_the_passes() -> None:
    passes = [
        LoadPass(900.0, (1.0, 3.0), (1.0, 1.0), 16, 600, 5.0, 6000, 0.0),
        LoadPass(700.0, (1.0, 1.0), (1.0, 1.0), 16, 600, 7.0, 6000, 0.5),
    ]
    made = summarise(Configuration(2, "cold", 4), passes, device="cuda")
    assert (made.avg_load_ms, made.avg_transfer_ms, made.avg_total_ms) == (1.5, 1.0, 2.5)
    assert made.std_load_ms == pytest.approx(0.75**0.5)
    assert (made.min_load_ms, made.max_load_ms, made.first_batch_ms) == (1.0, 3.0, 800.0)
    assert made.throughput_batches_per_sec == 400.0
    assert (made.elements_per_s_min, made.elements_per_s_max) == pytest.approx((1e5, 1.5e5))
    assert made.mb_per_s == pytest.approx(1.25)
    assert (made.uss_mb, made.cached_share, made.subjects_per_batch) == (6.0, 0.25, 8.0)


def test_durations_keep_two_digits_or_more() -> None:
    assert [milliseconds(x) for x in (0.04, 0.44, 4.4, 44.4)] == [
        *("0.04 ms", "0.4 ms", "4.4 ms", "44 ms")
    ]
