"""What poolings give, and that foreign states are pooled as their lengths say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from setvae_cli.data.padded import PaddedBatch
from setvae_cli.encoders.lifestream import LifestreamEncoder
from setvae_cli.encoders.setvae import SetvaeEncoder
from setvae_cli.errors import RunError
from tests.encoders.lifestream import Padded, gru, transformer
from tests.models import ARCHITECTURES, make_batch, make_model

BATCH = make_batch([[1, 4, 2], [3], [6, 1, 1, 2], [1]])


def test_the_default_is_the_models_own_embedding() -> None:
    model = make_model("base")
    assert torch.equal(SetvaeEncoder(model).encode(BATCH), model(BATCH).embedding)


@pytest.mark.parametrize("of", ["history", "latents", "latents-logvar"])
def test_last_and_mean_are_those_of_each_subjects_states(of: Any) -> None:
    model = make_model("levels")
    output = model(BATCH)
    means = [q.mean for q in output.posteriors]
    states = {
        "history": output.history,
        "latents": torch.cat(means, 1),
        "latents-logvar": torch.cat([*means, *(q.logvar for q in output.posteriors)], 1),
    }[of]
    each = states.split(BATCH.sets_per_subject.tolist())
    last, mean = SetvaeEncoder(model, "last", of), SetvaeEncoder(model, "mean", of)
    assert last.embedding_size == mean.embedding_size == states.shape[1]
    assert torch.equal(last.encode(BATCH), torch.stack([s[-1] for s in each]))
    close = dict(rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(mean.encode(BATCH), torch.stack([s.mean(0) for s in each]), **close)


def test_attention_begins_as_the_mean_and_follows_its_query() -> None:
    model = make_model("base")
    mean, attention = SetvaeEncoder(model, "mean"), SetvaeEncoder(model, "attention")
    torch.testing.assert_close(attention.encode(BATCH), mean.encode(BATCH), rtol=1e-8, atol=1e-12)
    assert attention.pool is not None
    assert attention.pool.query is not None
    with torch.no_grad():
        attention.pool.query.normal_()
    states = model(BATCH).history.split(BATCH.sets_per_subject.tolist())
    query = attention.pool.query.double()
    expected = [(s @ query / len(query) ** 0.5).softmax(0) @ s for s in states]
    torch.testing.assert_close(attention.encode(BATCH), torch.stack(expected), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_the_embedding_does_not_read_rests(name: str) -> None:
    encoder = SetvaeEncoder(make_model(name))
    encoder.encode(BATCH).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_parts_that_a_loss_reads_may_go_on_learning() -> None:
    encoder = SetvaeEncoder(make_model("base"), freeze_unread=False)
    assert all(each.requires_grad for each in encoder.parameters())


@pytest.mark.parametrize("build", [gru, transformer])
def test_a_recurrent_state_at_the_last_event_is_what_their_own_reduction_gives(build: Any) -> None:
    torch.manual_seed(0)
    whole = build(8).eval()
    rows = LifestreamEncoder(whole).encode(BATCH)
    states = whole(BATCH.to_padded())
    lengths = states.seq_lens.tolist()
    expected = torch.stack([states.payload[i, n - 1] for i, n in enumerate(lengths)])
    assert torch.equal(rows, expected)
    if build is gru:
        whole.seq_encoder.is_reduce_sequence = True
        assert torch.equal(LifestreamEncoder(whole).encode(BATCH), rows)


def test_nan_in_padding_reaches_no_row() -> None:
    class NanBehind(nn.Module):
        embedding_size = 2

        def forward(self, x: PaddedBatch) -> Padded:
            states = torch.stack([x.event_time, x.value], -1)
            behind = ~x.seq_len_mask.bool()[:, :, None]
            return Padded(states.masked_fill(behind, torch.nan), x.seq_lens)

    for pool in ("last", "mean", "attention"):
        assert LifestreamEncoder(NanBehind(), pool).encode(BATCH.to("cpu")).isfinite().all()


def test_rows_of_another_width_than_stated_are_refused() -> None:
    wrong = gru(8)
    encoder = LifestreamEncoder(wrong, name="theirs:Gru")
    encoder.embedding_size = 7
    with pytest.raises(RunError, match=r"theirs:Gru: gave a tensor \[4, 6\], expected a tensor"):
        encoder.encode(BATCH)
