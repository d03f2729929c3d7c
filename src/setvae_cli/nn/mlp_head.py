"""A classifier of hidden layers on an embedding, and the head that a tuned model has with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from setvae_cli.nn.dropout import Dropout

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


@dataclass(frozen=True)
class Classified:
    """A forward pass without latents.

    Attributes:
        logits: One a binary task, one a class of other tasks, side by side.
        embedding: The subject's embedding.
    """

    logits: Float[Tensor, "subjects outputs"]
    embedding: Float[Tensor, "subjects size"]


class Mlp(nn.Module):
    """Hidden layers, each with activation and dropout, then one output a task or class.

    Args:
        inputs: Width of the embedding.
        widths: Of the hidden layers; none: one linear map.
        outputs: Logits a subject.
        activation: Of `ACTIVATIONS`.
        dropout: Of the embedding and of every hidden layer, in training.
    """

    def __init__(
        self, inputs: int, widths: Sequence[int], *, outputs: int, activation: str, dropout: float
    ) -> None:
        super().__init__()
        hidden: list[nn.Module] = [Dropout(dropout)]
        for wide, narrow in pairwise((inputs, *widths)):
            hidden += [nn.Linear(wide, narrow), ACTIVATIONS[activation](), Dropout(dropout)]
        self.hidden = nn.Sequential(*hidden)
        self.out = nn.Linear((inputs, *widths)[-1], outputs)

    def forward(
        self, embedding: Float[Tensor, "subjects size"]
    ) -> Float[Tensor, "subjects outputs"]:
        """Logits, in the weights' own precision: rounded ones would tie subjects."""
        x = self.hidden(embedding)
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.out(x.to(self.out.weight.dtype))
        return logits


class MlpHead(nn.Module):
    """In place of `PredictionHead`: the same embedding of what is joined, then an `Mlp`.

    Args:
        inputs: Width of what is joined.
        size: Width of the embedding.
        dropout_joined: Dropout of what is joined.
        classify: From the embedding to logits.
    """

    def __init__(self, inputs: int, size: int, *, dropout_joined: float, classify: Mlp) -> None:
        super().__init__()
        self.dropout_joined = Dropout(dropout_joined)
        self.embed = nn.Linear(inputs, size)
        self.classify = classify

    def embedding(self, joined: Float[Tensor, "subjects inputs"]) -> Float[Tensor, "subjects size"]:
        """The subject's embedding."""
        embedded: Tensor = self.embed(self.dropout_joined(joined))
        return embedded

    def forward(
        self, embedding: Float[Tensor, "subjects size"]
    ) -> Float[Tensor, "subjects outputs"]:
        """Logits."""
        logits: Tensor = self.classify(embedding)
        return logits
