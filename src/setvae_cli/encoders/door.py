"""The door that every encoder comes through, whoever wrote it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from setvae_cli.data.batch import SetBatch


@runtime_checkable
class SequenceEncoder(Protocol):
    """A `torch.nn.Module` that turns each subject of a batch into one vector.

    What holds for every encoder, in evaluation mode unless said, and what
    `setvae_cli.testing.conformance` checks of any:

    - A row depends only on its subject: the others of its batch leave it as it is.
    - It is invariant to padding and to the order of the batch.
    - It is finite, also for a subject with one event.
    - It is deterministic: the same batch gives the same numbers, in float32 to the bit.
    - Its state makes a round trip: `load_state_dict(state_dict())` of another instance gives the
      same rows.
    - Gradients reach every parameter whose `requires_grad` is set, also in training mode.

    Attributes:
        embedding_size: Numbers a subject.
    """

    @property
    def embedding_size(self) -> int:
        """Numbers a subject; a plain attribute will do."""

    def encode(self, batch: SetBatch) -> Float[Tensor, "subjects size"]:
        """One row a subject, in the order of the batch."""
