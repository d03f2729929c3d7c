"""Any callable with a size as an encoder: from padded events to one row a subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from setvae_cli.data.batch import SetBatch
from setvae_cli.data.padded import PaddedBatch
from setvae_cli.encoders.shape import check_rows


class CallableEncoder(nn.Module):
    """A callable behind the door.

    Args:
        function: Takes a `PaddedBatch`, gives [subjects, embedding_size]. When it is a module, its
            parameters are those of the encoder.
        embedding_size: Numbers a subject.
        name: What the person calls it, for errors.
    """

    needs_set_plan = False

    def __init__(
        self, function: Callable[[PaddedBatch], Any], embedding_size: int, name: str = "encoder"
    ) -> None:
        super().__init__()
        self.function, self.embedding_size, self.name = function, embedding_size, name

    def encode(self, batch: SetBatch) -> Float[Tensor, "subjects size"]:
        """One row a subject.

        Raises:
            RunError: The callable gave something else.
        """
        rows = self.function(batch.to_padded())
        return check_rows(rows, batch.plan.subjects, self.embedding_size, self.name)
