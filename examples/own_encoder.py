"""A recurrent network of one's own: checked by the rules of encoders, then fine-tuned.

python examples/own_encoder.py STORE

The same without Python, in the folder of this file:

    pytest -p setvae_cli.testing.plugin --pyargs setvae_cli.testing --encoder own_encoder:GruEncoder
    setvae finetune --encoder own_encoder:GruEncoder --data STORE --lr 1e-3 --encoder-lr-ratio 1
"""

from __future__ import annotations

import argparse
import sys

import torch
from torch import Tensor, nn

import setvae_cli
from setvae_cli.data.padded import PaddedBatch
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.store.reader import Store
from setvae_cli.testing.conformance import check_encoder

DAY = 1440.0  # minutes


class GruEncoder(nn.Module):
    """The last state of a GRU over events, in time order.

    Args:
        codes: Codes of the data; setvae gives it where a class has a parameter of this name.
        embedding_size: Numbers a subject.
    """

    def __init__(self, codes: int, embedding_size: int = 32) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.code = nn.Embedding(codes + 1, 16, padding_idx=0)  # 0 is padding
        self.gru = nn.GRU(16 + 2, embedding_size, batch_first=True)

    def forward(self, events: PaddedBatch) -> Tensor:
        """One row a subject, [subjects, embedding_size]."""
        days = (events.event_time / DAY).to(events.value.dtype)
        numbers = torch.stack([events.value, days], dim=-1)
        x = torch.cat([self.code(events.code), numbers], dim=-1)
        packed = nn.utils.rnn.pack_padded_sequence(
            x, events.seq_lens.cpu(), batch_first=True, enforce_sorted=False
        )
        _, last = self.gru(packed)
        return last[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    check_encoder(lambda: GruEncoder(codes=16), codes=16)
    store = Store.open(given.store)
    options = {"max_epochs": given.epochs, "lr": 1e-3, "encoder_lr_ratio": 1.0}
    settings = FinetuneSettings.from_flat(options)
    result = setvae_cli.finetune(GruEncoder(len(store.vocabulary.codes)), store, settings)
    for metric in result.metrics:
        value = metric.reason if metric.value is None else f"{metric.value:.3f}"
        sys.stdout.write(f"{metric.task} {metric.name} {value}\n")
    sys.stdout.write(f"{result.best}\n")


if __name__ == "__main__":
    main()
