"""A small store, and settings that train on it in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from tests.training.stores import write_store


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    """Threads cost more than they give on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="package")
def _validations_of_several_batches() -> Iterator[None]:
    """A validation that is one batch cannot be cut short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setvae_cli.data.datamodule.EVALUATED", 1)
        yield


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three splits with both classes."""
    return write_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., TrainSettings]:
    """Settings of a model of a few hundred weights; flat options win."""

    def build(**options: object) -> TrainSettings:
        small = {
            "dim": 8,
            "heads": 2,
            "latent_dim": 4,
            "ff_dim": 8,
            "variable_dim": 4,
            "variable_pools": 2,
            "embedding_dim": 4,
            "max_epochs": 2,
            "output_dir": str(tmp_path / "outputs"),
        }
        return TrainSettings.from_flat({**small, **options})

    return build
