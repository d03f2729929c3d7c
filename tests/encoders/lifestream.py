"""What encoders of pytorch-lifestream take and give, imitated: no line here is theirs.

A container joins an encoder of events and one of sequences. Events come as `payload` (a dictionary
of [subjects, elements]) with `seq_lens`; states go on as `payload` [subjects, elements, size] with
the same `seq_lens`, unless `is_reduce_sequence` asks for one row a subject.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Padded:
    """Their batch: read-only `payload`, `seq_lens`, `device`, `seq_len_mask` and a length."""

    def __init__(self, payload: Any, length: Tensor) -> None:
        self._payload, self._length = payload, length

    @property
    def payload(self) -> Any:
        return self._payload

    @property
    def seq_lens(self) -> Tensor:
        return self._length

    @property
    def device(self) -> torch.device:
        return self._length.device

    @property
    def seq_len_mask(self) -> Tensor:
        width = self._payload.shape[1]
        return (torch.arange(width, device=self.device) < self._length[:, None]).long()

    def __len__(self) -> int:
        return len(self._length)


class Events(nn.Module):
    """Codes through a table whose row 0 is padding, values as they are."""

    def __init__(self, codes: int, size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(codes + 1, size - 2, padding_idx=0)
        self.norm = nn.BatchNorm1d(2)
        self.output_size = size

    def forward(self, x: Any) -> Padded:
        numbers = torch.stack([x.payload["value"], x.payload["event_time"]], -1).float()
        normed = self.norm(numbers.flatten(0, 1)).view_as(numbers)
        code = x.payload["code"].long().clip(0, self.table.num_embeddings - 1)
        return Padded(torch.cat([self.table(code), normed], -1), x.seq_lens)


class Gru(nn.Module):
    """A recurrent network with a learned start; reduced: its state at the last event."""

    def __init__(self, inputs: int, size: int, *, is_reduce_sequence: bool) -> None:
        super().__init__()
        self.is_reduce_sequence, self._size = is_reduce_sequence, size
        self.start = nn.Parameter(torch.randn(1, 1, size))
        self.rnn = nn.GRU(inputs, size, batch_first=True)

    @property
    def embedding_size(self) -> int:
        return self._size

    def forward(self, x: Padded) -> Any:
        start = self.start.tanh().expand(-1, len(x), -1).contiguous()
        states, _ = self.rnn(x.payload, start)
        if self.is_reduce_sequence:
            return states[torch.arange(len(x), device=x.device), x.seq_lens - 1]
        return Padded(states, x.seq_lens)


class Transformer(nn.Module):
    """Attention with a learned first token that padding is hidden from; reduced: that token."""

    def __init__(self, size: int, *, is_reduce_sequence: bool) -> None:
        super().__init__()
        self.is_reduce_sequence, self._size = is_reduce_sequence, size
        self.first = nn.Parameter(torch.randn(1, 1, size))
        layer = nn.TransformerEncoderLayer(size, 2, 2 * size, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, nn.LayerNorm(size), False)

    @property
    def embedding_size(self) -> int:
        return self._size

    def forward(self, x: Padded) -> Any:
        tokens = torch.cat([self.first.expand(len(x), -1, -1), x.payload], 1)
        hidden = torch.cat([torch.zeros(len(x), 1).long(), 1 - x.seq_len_mask], 1).bool()
        states = self.layers(tokens, src_key_padding_mask=hidden)
        return states[:, 0] if self.is_reduce_sequence else Padded(states[:, 1:], x.seq_lens)


class Container(nn.Module):
    """Both, in a row."""

    def __init__(self, events: Events, sequence: nn.Module) -> None:
        super().__init__()
        self.trx_encoder, self.seq_encoder = events, sequence

    @property
    def is_reduce_sequence(self) -> bool:
        return bool(self.seq_encoder.is_reduce_sequence)

    @property
    def embedding_size(self) -> int:
        return int(self.seq_encoder.embedding_size)  # type: ignore[arg-type]

    def forward(self, x: Any) -> Any:
        return self.seq_encoder(self.trx_encoder(x))


def gru(codes: int = 16, *, reduced: bool = False) -> Container:
    """Events and a recurrent network."""
    return Container(Events(codes, 8), Gru(8, 6, is_reduce_sequence=reduced))


def transformer(codes: int = 16, *, reduced: bool = False) -> Container:
    """Events and attention."""
    return Container(Events(codes, 8), Transformer(8, is_reduce_sequence=reduced))
