from __future__ import annotations

import logging
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from setvae_cli.data.datamodule import EpochLoader, SetDataModule, check_classes
from setvae_cli.errors import InputError
from setvae_cli.settings.run import LoaderSettings
from setvae_cli.store.reader import Store
from tests.tiny import cohort, write


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path: Path = tmp_path_factory.mktemp("module") / "store"
    write(cohort(60), path)
    return Store.open(path)


def module(store: Store, **changes: Any) -> SetDataModule:
    settings = LoaderSettings(batch_size=4, **changes.pop("settings", {}))
    return SetDataModule(
        store, store.vocabulary, settings, **({"tasks": ("death",), "seed": 0} | changes)
    )


def rows(loader: EpochLoader, count: int | None = None) -> list[list[int]]:
    found = []
    for batch in loader:
        found.append(batch.rows.tolist())
        if len(found) == count:
            break
    return found


def test_epochs_follow_each_other_in_different_orders(store: Store) -> None:
    loader = module(store).train_dataloader()
    first, second = rows(loader), rows(loader)
    assert len(first) == len(loader)
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second)) == store.split("train").tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_exactly_where_its_state_was_saved(store: Store, workers: int) -> None:
    whole = module(store).train_dataloader()
    wanted = [rows(whole), rows(whole)]
    loader = module(store, settings={"num_workers": workers}).train_dataloader()
    assert rows(loader, 4) == wanted[0][:4]
    state = loader.state_dict()
    resumed = module(store, settings={"num_workers": workers}).train_dataloader()
    resumed.load_state_dict(state)
    assert len(resumed) == len(whole)
    assert rows(resumed) == wanted[0][4:]
    assert resumed.state_dict() == {"epoch": 1, "position": 0}
    assert rows(resumed) == wanted[1]


@pytest.mark.slow
def test_a_program_ends_while_a_loader_still_has_workers(store: Store) -> None:
    program = f"""
from setvae_cli.data.datamodule import SetDataModule
from setvae_cli.settings.run import LoaderSettings
from setvae_cli.store.reader import Store
store = Store.open({str(store.path)!r})
settings = LoaderSettings(batch_size=4, num_workers=1)
data = SetDataModule(store, store.vocabulary, settings, tasks=(), seed=0)
running = iter(data.train_dataloader())
next(running)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_workers_can_be_written_and_are_those_of_this_process(
    store: Store, workers: int
) -> None:
    here = next(iter(module(store, plan_sets=True).train_dataloader()))
    data = module(store, plan_sets=True, settings={"num_workers": workers})
    there = next(iter(data.train_dataloader()))
    for name in ("keys", "values", "value_mask", "set_sizes", "positions", "labels"):
        assert torch.equal(getattr(here, name), getattr(there, name))
        getattr(there, name).fill_(0)
    assert there.plan.by_set is not None
    assert here.plan.by_set is not None
    assert torch.equal(there.plan.by_set.cells, here.plan.by_set.cells)
    assert len(there.plan.by_set.buckets) == len(here.plan.by_set.buckets)


def test_a_loader_draws_nothing_from_the_global_generators(store: Store) -> None:
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    rows(module(store, hide_rate=0.5).train_dataloader())
    assert torch.equal(state, torch.get_rng_state())
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_evaluation_hides_nothing_and_keeps_the_order_of_rows(store: Store) -> None:
    data = module(store, hide_rate=0.9)
    for loader, split in ((data.val_dataloader(), "validation"), (data.test_dataloader(), "test")):
        batches = list(loader)
        seen = list(chain(*(batch.rows.tolist() for batch in batches)))
        assert seen == store.split(split).tolist()
        elements = store.columns.n_elements[store.split(split)].sum()
        assert sum(batch.plan.elements for batch in batches) == elements


def test_a_share_of_validation_is_the_same_subset_each_time(store: Store) -> None:
    first, second = (module(store, limit_val_batches=0.5) for _ in range(2))
    assert first.validation.rows.tolist() == second.validation.rows.tolist()
    assert len(first.validation) == round(0.5 * len(store.split("validation")))
    assert set(first.validation.rows) < set(store.split("validation").tolist())


def test_an_empty_split_is_refused(store: Store) -> None:
    splits = {"train": np.arange(30), "validation": np.arange(0), "test": np.arange(30, 60)}
    with pytest.raises(InputError, match="validation split is empty"):
        module(store, splits=splits)


def test_one_class_in_training_is_refused_and_in_validation_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, both = np.array([[0], [0], [-1]]), np.array([[0], [1], [-1]])
    with pytest.raises(InputError, match=r"has 1 class.* in training"):
        check_classes(one, both, ("death",))
    with caplog.at_level(logging.WARNING):
        check_classes(both, one, ("death",))
    assert "one class in validation" in caplog.text


def test_a_batch_above_the_size_of_training_is_said(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        SetDataModule(store, store.vocabulary, LoaderSettings(batch_size=500), tasks=(), seed=0)
    assert "larger than the training split of 42" in caplog.text


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batching", ["shuffle", "length"])
def test_a_loader_with_a_budget_goes_on_in_the_middle_and_over_the_end_of_an_epoch(
    store: Store, workers: int, batching: str
) -> None:
    settings = {"max_elements_per_batch": 60, "batching": batching, "num_workers": workers}
    whole = module(store, settings=settings).train_dataloader()
    wanted = [rows(whole) for _ in range(3)]
    assert [len(epoch) for epoch in wanted] == [whole.batches(epoch) for epoch in range(3)]
    for taken in (1, 4, len(wanted[0]) - 1, len(wanted[0])):
        loader = module(store, settings=settings).train_dataloader()
        assert rows(loader, taken) == wanted[0][:taken]
        resumed = module(store, settings=settings).train_dataloader()
        resumed.load_state_dict(loader.state_dict())
        if taken < len(wanted[0]):
            assert len(resumed) == len(wanted[0])
            assert rows(resumed) == wanted[0][taken:]
        assert resumed.state_dict() == {"epoch": 1, "position": 0}
        assert len(resumed) == len(wanted[1])
        assert rows(resumed) == wanted[1]
        assert rows(resumed) == wanted[2]


def test_a_budget_holds_in_every_split_after_truncation_and_hiding(store: Store) -> None:
    settings = {"max_elements_per_batch": 25, "max_sequence_length": 12, "truncate": "random"}
    data = module(store, settings=settings, hide_rate=0.3)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        sizes = [batch.plan.elements for batch in loader]
        assert max(sizes) <= 25
    assert len({batch.plan.subjects for batch in data.val_dataloader()}) > 1


def test_loaders_of_training_and_validation_are_the_same_each_time(store: Store) -> None:
    data = module(store)
    loader = data.train_dataloader()
    first = rows(loader, 3)
    assert data.train_dataloader() is loader
    assert loader.state_dict() == {"epoch": 0, "position": 3}
    assert sorted(chain(*first, *rows(loader))) == store.split("train").tolist()
    validation = rows(data.val_dataloader(), 1)
    assert rows(data.val_dataloader())[:1] == validation


def test_subjects_above_the_budget_are_counted_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    large = int((store.columns.n_elements > 20).sum())
    with caplog.at_level(logging.WARNING):
        module(store, settings={"max_elements_per_batch": 20})
    assert caplog.text.count("a batch of its own each") == 1
    assert f"{large} subjects with more than 20 elements" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        module(store, settings={"max_elements_per_batch": 10**6})
    assert "a batch holds the whole training split of 42" in caplog.text
