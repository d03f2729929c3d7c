"""Encoders that break one rule each, on purpose, around one that keeps them all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SIZE = 5


class Sound(nn.Module):
    """The mean of event vectors below seq_lens."""

    embedding_size = SIZE

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(17, SIZE, padding_idx=0)
        self.value = nn.Linear(1, SIZE)

    def events(self, x: Any) -> Tensor:
        return self.table(x.code) + self.value(x.value[:, :, None])

    def forward(self, x: Any) -> Any:
        mask = x.seq_len_mask[:, :, None]
        return (self.events(x) * mask).sum(1) / x.seq_lens[:, None]


class NoRowASubject(Sound):
    def forward(self, x: Any) -> Any:
        return super().forward(x).T


class WholeNumbers(Sound):
    def encode(self, batch: Any) -> Any:
        return self(batch.to_padded()).round().long()


class NormalisedOverTheBatch(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(SIZE, track_running_stats=False)

    def forward(self, x: Any) -> Any:
        rows = super().forward(x)
        return self.norm(rows) if len(rows) > 1 else rows


class PaddingLeaks(Sound):
    def forward(self, x: Any) -> Any:
        return self.events(x).mean(1)


class LastCellIsPadding(Sound):
    def forward(self, x: Any) -> Any:
        return self.events(x)[:, -1]


class PlaceInTheBatch(Sound):
    def forward(self, x: Any) -> Any:
        place = torch.arange(len(x))[:, None] / 10
        return super().forward(x) * (1 + place)


class SortedByLength(Sound):
    def forward(self, x: Any) -> Any:
        return super().forward(x)[x.seq_lens.argsort(stable=True)]


class SpreadOfOneEvent(Sound):
    def forward(self, x: Any) -> Any:
        rows = super().forward(x)
        return rows / (x.seq_lens[:, None] - 1)


class DropoutInEvaluation(Sound):
    def forward(self, x: Any) -> Any:
        return nn.functional.dropout(super().forward(x), 0.5)


class StateOutsideTheState(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.rand(SIZE)

    def forward(self, x: Any) -> Any:
        return super().forward(x) * self.scale


class CountedOutsideTheState(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Any) -> Any:
        self.steps += self.training
        return super().forward(x) + self.steps


class UnusedPart(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(SIZE, SIZE)


class Detached(Sound):
    def forward(self, x: Any) -> Any:
        return super().forward(x).detach()


BROKEN: dict[str, list[tuple[type[nn.Module], str]]] = {
    "there_is_one_row_a_subject": [
        (NoRowASubject, "one row a subject"),
        (WholeNumbers, "floating-point"),
    ],
    "a_row_depends_only_on_its_subject": [(NormalisedOverTheBatch, "BatchNorm")],
    "padding_does_not_matter": [(PaddingLeaks, "seq_lens"), (LastCellIsPadding, "seq_lens")],
    "the_order_of_the_batch_does_not_matter": [
        (PlaceInTheBatch, "order of the batch"),
        (SortedByLength, "order of the batch"),
    ],
    "one_event_is_enough": [(SpreadOfOneEvent, "not finite")],
    "evaluation_is_deterministic": [(DropoutInEvaluation, "self.training")],
    "the_state_makes_a_round_trip": [
        (StateOutsideTheState, "registered buffers"),
        (CountedOutsideTheState, "registered buffers"),
    ],
    "gradients_reach_every_unfrozen_parameter": [
        (UnusedPart, "reaches encoder.unused.weight, encoder.unused.bias"),
        (Detached, "detach nothing"),
    ],
}
