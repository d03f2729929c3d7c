"""An encoder of pytorch-lifestream as an encoder, known by what it takes and gives.

It takes `payload` and `seq_lens`. It gives either one row a subject (its `is_reduce_sequence`), or
again a `payload` [subjects, elements, size] of states and their `seq_lens`. The library itself is
never imported.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from setvae_cli.data.batch import SetBatch
from setvae_cli.encoders.pooling import Over, Pool
from setvae_cli.encoders.shape import check_rows, size_of
from setvae_cli.errors import RunError, SettingsError

POOL = "--pool"
NO_STATES = "is for states, and this encoder gives one row a subject"


class LifestreamEncoder(nn.Module):
    """A module that takes padded events, and gives rows or states.

    Codes come from 1, as 0 is padding there: an embedding of codes needs one row more than there
    are codes.

    Args:
        encoder: The module; its `embedding_size` is the width of a row, or of a state.
        pool: What becomes of states: the last of each subject, their mean, or a learned average;
            None: the last, and an encoder that gives rows is welcome too.
        name: What the person calls it, for errors.

    Raises:
        RunError: It states no size.
    """

    needs_set_plan = False

    def __init__(self, encoder: nn.Module, pool: Over | None = None, name: str = "encoder") -> None:
        super().__init__()
        self.encoder, self.name = encoder, name
        self.embedding_size = size_of(encoder, name)
        self.pool, self._asked = Pool(pool or "last", self.embedding_size), pool is not None

    def encode(self, batch: SetBatch) -> Float[Tensor, "subjects size"]:
        """One row a subject.

        Raises:
            RunError: It gave neither rows nor states of its size.
            SettingsError: It gave rows where a way to pool states was asked for.
        """
        subjects = batch.plan.subjects
        given = self.encoder(batch.to_padded())
        if hasattr(given, "payload") and hasattr(given, "seq_lens"):
            given = self._pooled(given.payload, given.seq_lens, subjects)
        elif self._asked:
            raise SettingsError(NO_STATES, where=POOL, mend="leave it out")
        return check_rows(given, subjects, self.embedding_size, self.name)

    def _pooled(self, states: Any, seq_lens: Tensor, subjects: int) -> Tensor:
        found = list(states.shape) if isinstance(states, Tensor) else type(states).__name__
        if not isinstance(states, Tensor) or states.ndim != 3 or len(states) != subjects:
            raise RunError(
                f"gave a payload {found}, expected states [{subjects}, elements, size]",
                where=self.name,
                mend="return states of all elements, or one row a subject",
            )
        width, lengths = states.shape[1], seq_lens.to(states.device).long()
        subject = torch.arange(subjects, device=states.device)
        real = torch.arange(width, device=states.device) < lengths[:, None]
        rows: Tensor = self.pool(
            states.flatten(0, 1),
            subject.repeat_interleave(width, output_size=subjects * width),
            subject * width + lengths - 1,
            real.flatten(),
        )
        return rows
