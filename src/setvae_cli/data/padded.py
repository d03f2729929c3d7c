"""A batch of events as rectangles, for encoders that know no sets.

It is the duck that encoders of pytorch-lifestream take and give: `payload`, a dictionary of
[subjects, elements] tensors (or one tensor of states), and `seq_lens`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int64
from torch import Tensor

if TYPE_CHECKING:
    from setvae_cli.data.batch import SetBatch


@dataclass(frozen=True)
class PaddedBatch:
    """Each subject's events side by side, in time order, then padding.

    Attributes:
        payload: `event_time` (minutes), `code` (int64: 1 for the vocabulary's first code, 0 is
            padding), `value` (as in `SetBatch.values`; 0 where there is none), `value_mask` (True
            where the event has a value). All [subjects, elements]; padding is 0 everywhere.
        seq_lens: Events of each subject, at least 1.
    """

    payload: dict[str, Tensor]
    seq_lens: Int64[Tensor, "subjects"]

    def __len__(self) -> int:
        return len(self.seq_lens)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.seq_lens.device

    @property
    def event_time(self) -> Tensor:
        """Minutes."""
        return self.payload["event_time"]

    @property
    def code(self) -> Tensor:
        """Number of the code in the vocabulary, from 1; 0 is padding."""
        return self.payload["code"]

    @property
    def value(self) -> Tensor:
        """Standardised value; 0 where there is none."""
        return self.payload["value"]

    @property
    def value_mask(self) -> Tensor:
        """True where the event has a value."""
        return self.payload["value_mask"]

    @property
    def seq_len_mask(self) -> Int64[Tensor, "subjects elements"]:
        """1 where there is an event, 0 in padding."""
        place = torch.arange(self.code.shape[1], device=self.device)
        return (place < self.seq_lens[:, None]).long()


def pad(batch: SetBatch) -> PaddedBatch:
    """The events of a batch as rectangles; which set each is in stays in its time.

    Raises:
        TypeError: The elements are voxels.
    """
    if batch.keys.ndim != 1:
        raise TypeError("a batch of voxels has no codes to pad")
    plan = batch.plan
    subject = plan.set_subject.index_select(0, plan.element_set)
    first = plan.set_start.index_select(0, plan.subject_start)
    place = torch.arange(plan.elements, device=subject.device) - first.index_select(0, subject)
    ends = torch.cat([first[1:], first.new_full((1,), plan.elements)])
    cell = subject * plan.longest + place

    def spread(packed: Tensor) -> Tensor:
        flat = packed.new_zeros(plan.subjects * plan.longest).index_copy(0, cell, packed)
        return flat.view(plan.subjects, plan.longest)

    payload = {
        "event_time": spread(batch.positions[:, 0].index_select(0, plan.element_set)),
        "code": spread(batch.keys.long() + 1),
        "value": spread(batch.values),
        "value_mask": spread(batch.value_mask),
    }
    return PaddedBatch(payload, ends - first)
