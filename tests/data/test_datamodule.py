from __future__ import annotations

import logging
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
