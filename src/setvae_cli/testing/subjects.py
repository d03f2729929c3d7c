"""Subjects one by one, taken out of a batch or made up, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from setvae_cli.data.batch import SetBatch, make_plan

SETS = ((2, 5, 1), (3,), (6, 1, 1, 2, 9, 3), (2, 2), (1, 1, 1), (1,))


@dataclass(frozen=True)
class Subject:
    """One subject's events.

    Attributes:
        keys, values, value_mask: [elements], as in `SetBatch`.
        set_sizes: [sets], elements of each.
        positions: [sets, axes].
    """

    keys: Tensor
    values: Tensor
    value_mask: Tensor
    set_sizes: Tensor
    positions: Tensor

    def with_other_values(self) -> Subject:
        """As many events at the same times, of other codes and values."""
        values = torch.where(self.value_mask, 1 - 2 * self.values, self.values)
        return replace(
            self,
            keys=self.keys.flip(0),
            values=values.flip(0),
            value_mask=self.value_mask.flip(0),
        )

    def first_event(self) -> Subject:
        """The first event alone."""
        return Subject(
            self.keys[:1],
            self.values[:1],
            self.value_mask[:1],
            torch.ones_like(self.set_sizes[:1]),
            self.positions[:1],
        )


def subjects_of(batch: SetBatch) -> list[Subject]:
    """The subjects of a batch, in its order."""
    per_subject: list[int] = batch.sets_per_subject.tolist()
    sizes = torch.split(batch.set_sizes, per_subject)
    elements = [int(each.sum()) for each in sizes]
    columns = (
        torch.split(batch.keys, elements),
        torch.split(batch.values, elements),
        torch.split(batch.value_mask, elements),
        sizes,
        torch.split(batch.positions, per_subject),
    )
    return [Subject(*parts) for parts in zip(*columns, strict=True)]


def batch_of(subjects: Sequence[Subject]) -> SetBatch:
    """A batch of some subjects, without labels, with every plan that a model may ask for."""
    sizes = torch.cat([each.set_sizes for each in subjects])
    per_subject = torch.tensor([len(each.set_sizes) for each in subjects])
    return SetBatch(
        keys=torch.cat([each.keys for each in subjects]),
        values=torch.cat([each.values for each in subjects]),
        value_mask=torch.cat([each.value_mask for each in subjects]),
        set_sizes=sizes,
        positions=torch.cat([each.positions for each in subjects]),
        sets_per_subject=per_subject,
        rows=torch.arange(len(subjects)),
        labels=torch.zeros(len(subjects), 0, dtype=torch.int64),
        label_mask=torch.zeros(len(subjects), 0, dtype=torch.bool),
        plan=make_plan(sizes, per_subject, with_sets=True),
    )


def made_up(codes: int, *, seed: int = 0) -> list[Subject]:
    """Six subjects of one to 22 events, one of them with a single event.

    Args:
        codes: Codes that occur, all of them where there are enough events.
        seed: Of times, codes and values.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for sizes in SETS:
        elements = sum(sizes)
        mask = torch.rand(elements, generator=generator) < 0.8
        values = torch.randn(elements, generator=generator)
        gaps = 60 * torch.rand(len(sizes), 1, generator=generator)
        found.append(
            Subject(
                keys=torch.randint(codes, (elements,), generator=generator).to(torch.int32),
                values=torch.where(mask, values, 0.0),
                value_mask=mask,
                set_sizes=torch.tensor(sizes),
                positions=gaps.cumsum(0),
            )
        )
    return found
