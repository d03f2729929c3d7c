"""A ragged batch as rectangles."""

from __future__ import annotations

import pytest
import torch

from setvae_cli.testing.subjects import subjects_of
from tests.models import make_batch


def test_each_subject_stands_in_time_order_with_zeros_behind_it() -> None:
    batch = make_batch([[1, 4, 2], [3], [1], [6, 1, 9]])
    padded = batch.to_padded()
    assert padded.seq_lens.tolist() == [7, 3, 1, 16]
    assert len(padded) == 4
    for row, subject in enumerate(subjects_of(batch)):
        n = len(subject.keys)
        times = subject.positions[:, 0].repeat_interleave(subject.set_sizes)
        for name, packed in (
            ("event_time", times),
            ("code", subject.keys.long() + 1),
            ("value", subject.values),
            ("value_mask", subject.value_mask),
        ):
            cells = getattr(padded, name)[row]
            assert torch.equal(cells[:n], packed)
            assert not cells[n:].any()


def test_code_0_is_padding_and_nothing_else() -> None:
    padded = make_batch([[2, 2], [5]]).to_padded()
    assert torch.equal(padded.code > 0, padded.seq_len_mask.bool())


def test_gradients_pass_through_padding() -> None:
    from dataclasses import replace

    batch = make_batch([[1, 4], [2]])
    values = batch.values.clone().requires_grad_()
    replace(batch, values=values).to_padded().value.sum().backward()
    assert torch.equal(values.grad, torch.ones_like(values))


def test_voxels_have_no_codes_to_pad() -> None:
    from dataclasses import replace

    batch = make_batch([[2], [1]])
    voxels = replace(batch, keys=torch.zeros(3, 3, dtype=torch.int32))
    with pytest.raises(TypeError, match="voxels"):
        voxels.to_padded()
