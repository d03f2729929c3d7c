"""Embeddings of rows of a store, piece by piece, so that a large store needs no large memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from setvae_cli.data.dataset import SetDataset
from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.evaluation.predict import beside_missing
from setvae_cli.evaluation.sweep import placed
from setvae_cli.evaluation.views import in_order

PIECE_ROWS = 8192  # rows that are kept before they are handed on


@dataclass(frozen=True)
class Piece:
    """Embeddings of consecutive ones of the rows that were asked for.

    Attributes:
        rows: Row numbers, ascending.
        embedding: [rows, size], float32 or float64; NaN where the encoder knows no event.
    """

    rows: NDArray[np.int64]
    embedding: NDArray[Any]


def embed(
    encoder: SequenceEncoder,
    dataset: SetDataset,
    asked: NDArray[np.int64],
    *,
    batch_size: int = 64,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Piece]:
    """Embed rows, where the encoder's weights are.

    Args:
        encoder: In evaluation mode.
        dataset: The rows of which the encoder knows events, at least one.
        asked: All rows that were asked for, ascending; each is in one piece.
        batch_size: Subjects at once.
        progress: Told how many rows are done.

    Raises:
        NumericalError: An embedding is not finite.
    """
    module = cast("nn.Module", encoder)
    found: list[NDArray[Any]] = []
    begun = first = last = 0
    for batch in in_order(dataset, batch_size):
        with torch.no_grad():
            found.append(_numbers(encoder.encode(placed(batch, module))))
        last += batch.plan.subjects
        end = len(asked)
        if last < len(dataset):
            end = int(np.searchsorted(asked, dataset.rows[last]))
        progress(end)
        if end - begun >= PIECE_ROWS or end == len(asked):
            rows, seen = asked[begun:end], dataset.rows[first:last]
            yield Piece(rows, beside_missing(rows, seen, np.concatenate(found)))
            begun, first, found = end, last, []


def _numbers(embedding: Tensor) -> NDArray[Any]:
    kept = torch.promote_types(embedding.dtype, torch.float32)  # numpy knows no bfloat16
    return np.asarray(embedding.to("cpu", kept).numpy())
