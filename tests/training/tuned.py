"""Settings of a fine-tuning run that take a second, and the trained model that it starts from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from setvae_cli.data.batch import SetBatch
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.store.reader import Store
from tests.trained import model_for, write_trained

Build = Callable[..., FinetuneSettings]


def checkpoint_of(store: Store, folder: Path, **options: Any) -> Path:
    """A checkpoint of a random model of a store."""
    (path,) = write_trained(folder, model_for(store, **options), str(store.path)).best()
    return path.path


def settings_in(folder: Path, checkpoint: Path | None, **options: Any) -> FinetuneSettings:
    """Settings of a run in a folder; flat options win."""
    small = {
        "ckpt": None if checkpoint is None else str(checkpoint),
        "head_hidden_dims": [6],
        "max_epochs": 2,
        "batch_size": 4,
        "patience": 0,
        "output_dir": str(folder),
    }
    return FinetuneSettings.from_flat({**small, **options})


class WithNorm(nn.Module):
    """An encoder of others: means of values and codes, a BatchNorm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding_size = 3
        self.norm, self.map = nn.BatchNorm1d(2), nn.Linear(2, 3)
        self.dropout = nn.Dropout(0.5)

    def encode(self, batch: SetBatch) -> Tensor:
        """[subjects, 3]."""
        of = batch.plan.set_subject[batch.plan.element_set]
        sums = torch.zeros(batch.plan.subjects, 2, dtype=batch.values.dtype)
        sums = sums.index_add(0, of, torch.stack([batch.values, batch.keys.to(batch.values)], 1))
        return self.dropout(self.map(self.norm(sums / 10)))
