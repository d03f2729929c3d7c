"""What `setvae embed` needs to know, whichever encoder it was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.dataset import SetDataset
from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.errors import InputError
from setvae_cli.store.format import SPLITS
from setvae_cli.store.reader import Store

ALL = "all"


@dataclass(frozen=True)
class Embedder:
    """An encoder and the rows that it embeds.

    Attributes:
        encoder: In evaluation mode.
        store: Events.
        asked: The rows, ascending.
        dataset: Those of them of which the encoder knows events.
        splits: Rows of the store by split.
        about: Where the vectors come from, for the file.
        checkpoint: The checkpoint whose model alone it is; None where code of others is needed.
        width: Of the model's vectors: a narrow one computes faster on one thread.
        predicts: Whether the model predicts labels too.
    """

    encoder: SequenceEncoder
    store: Store
    asked: NDArray[np.int64]
    dataset: SetDataset
    splits: Mapping[str, NDArray[np.int64]]
    about: Mapping[str, str]
    checkpoint: Path | None
    width: int
    predicts: bool = False

    @property
    def cut(self) -> int:
        """Subjects of whom the length limit of the model's run leaves out events."""
        whole = self.store.columns.n_elements[self.dataset.rows]
        return int((self.dataset.n_elements < whole).sum())

    def counts(self) -> dict[str, int]:
        """Rows of each split that are embedded, where there are any."""
        sizes = {name: len(np.intersect1d(self.asked, self.splits[name])) for name in SPLITS}
        return {name: size for name, size in sizes.items() if size}


def rows_asked(
    store: Store, splits: Mapping[str, NDArray[np.int64]], split: str
) -> NDArray[np.int64]:
    """The rows of a split, or all of the store, ascending.

    Raises:
        InputError: There are none.
    """
    rows = np.arange(len(store)) if split == ALL else np.sort(splits[split])
    if not len(rows):
        what, mend = f"the {split} split is empty", "name another with --split"
        raise InputError(what, where=str(store.path), mend=mend)
    return rows.astype(np.int64)


def check_known(dataset: SetDataset, store: Store) -> SetDataset:
    """Make sure that some rows have an event that the encoder knows.

    Raises:
        InputError: None has.
    """
    if not len(dataset):
        what = "the model knows no event of the subjects that were asked for"
        raise InputError(what, where=str(store.path), mend="name other data")
    return dataset
