"""From states and elements to one embedding a subject, and from it to predictions."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor, nn

from setvae_cli.data.batch import Plan, SetBatch
from setvae_cli.nn.attention import FeedForward
from setvae_cli.nn.dropout import Dropout
from setvae_cli.nn.embedding import Knots, Located, interpolate
from setvae_cli.nn.ragged import segment_softmax_pool, segment_sum, softmax_pool

AGES = 96
NUMBERS_A_POOL = 3


class TimePooling(nn.Module):
    """Learned queries attend the states of a subject.

    Args:
        dim: Width of a state.
        queries: Number of queries; the result has queries x dim numbers.
    """

    def __init__(self, dim: int, queries: int) -> None:
        super().__init__()
        self.scores = nn.Linear(dim, queries)
        self.size = queries * dim

    def forward(
        self, states: Float[Tensor, "sets dim"], plan: Plan
    ) -> Float[Tensor, "subjects size"]:
        """All pools of each subject, side by side."""
        return softmax_pool(self.scores(states), states, plan.by_subject).flatten(1)


class VariableAxis(nn.Module):
    """Each code's own events over time, pooled in several ways, then attention across codes.

    A pool weighs a code's events by a softmax over scores that depend on the value (interpolated)
    and on the age of the event (a table a code, 96 steps of the time scale back from the subject's
    last set). Pools start as mean, last, first, largest, smallest, late and early averages, and
    free ones.

    Args:
        knots: Knots of every code.
        axis_codes: The codes that have a place on the axis, for example the most frequent.
        width: Numbers a code.
        pools: Pools a code.
        heads: Attention heads across codes.
        scale: Minutes that count as one time scale.
    """

    place: Int64[Tensor, "codes"]

    def __init__(
        self,
        knots: Knots,
        axis_codes: NDArray[np.int64],
        *,
        width: int,
        pools: int,
        heads: int,
        scale: float,
    ) -> None:
        super().__init__()
        self.pools, self.scale, self.slots = pools, scale, len(axis_codes)
        place = torch.full((len(knots.first),), self.slots, dtype=torch.int64)
        place[torch.from_numpy(axis_codes)] = torch.arange(self.slots)
        self.register_buffer("place", place, persistent=False)
        position = knots.offset.float()[:, None]
        values = torch.randn(knots.rows, pools * NUMBERS_A_POOL) * 0.01
        values[:, ::NUMBERS_A_POOL] += position
        self.table = nn.Parameter(torch.cat([position * _value_slopes(pools), values], 1))
        ages = torch.linspace(0, 1, AGES + 1)[None, :, None] * _age_slopes(pools)
        self.ages = nn.Parameter(ages.repeat(self.slots + 1, 1, 1))
        self.join = CodewiseLinear(self.slots, pools * NUMBERS_A_POOL + 3, width)
        self.norm = nn.LayerNorm(width)
        self.attention = CodeAttention(width, heads)
        self.feed_forward = nn.Sequential(nn.LayerNorm(width), FeedForward(width, 2 * width))
        self.size = self.slots * width

    def forward(self, batch: SetBatch, located: Located) -> Float[Tensor, "subjects size"]:
        """Every code's vector, side by side."""
        plan = batch.plan
        slot = self.place.index_select(0, batch.keys.long())
        element_subject = plan.set_subject.index_select(0, plan.element_set)
        segment = element_subject * (self.slots + 1) + slot
        segments = plan.subjects * (self.slots + 1)
        age = self._ages(batch).index_select(0, plan.element_set)
        step = (age * AGES).long().clamp_max(AGES)
        # Split at once: the backward of two slices fills two tensors of zeros, and adds them.
        numbers = [self.pools, self.pools * NUMBERS_A_POOL]
        by_value, values = interpolate(self.table, located).split(numbers, 1)
        by_age = self.ages.flatten(0, 1).index_select(0, slot * (AGES + 1) + step)
        values = values.unflatten(-1, (self.pools, NUMBERS_A_POOL))
        pooled = segment_softmax_pool(by_value + by_age, values, segment, segments).flatten(1)
        counts = segment_sum(torch.ones_like(age)[:, None], segment, segments)
        recency = 1 + torch.full_like(counts[:, 0], -1.0).scatter_reduce(0, segment, -age, "amax")
        present = (counts > 0).to(counts.dtype)
        facts = torch.cat([torch.log1p(counts) / 2, present, recency[:, None]], 1)
        x = torch.cat([pooled, facts], 1).view(plan.subjects, self.slots + 1, -1)[:, :-1]
        x = self.join(x)
        x = x + self.attention(self.norm(x))
        flat: Tensor = (x + self.feed_forward(x)).flatten(1)
        return flat

    def _ages(self, batch: SetBatch) -> Float[Tensor, "sets"]:
        """Time from each set to its subject's last, in time scales, at most 1."""
        plan = batch.plan
        last = plan.subject_start + batch.sets_per_subject - 1
        end = batch.positions.index_select(0, last).index_select(0, plan.set_subject)
        distance: Tensor = torch.linalg.vector_norm(end - batch.positions, dim=-1)
        return (distance / self.scale).clamp_max(1.0)


class CodewiseLinear(nn.Module):
    """A shared linear map plus a bias a code."""

    def __init__(self, codes: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(codes, inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.randn(codes, outputs) * 0.1)

    def forward(
        self, x: Float[Tensor, "subjects codes inputs"]
    ) -> Float[Tensor, "subjects codes outputs"]:
        """Each code through its own weights."""
        return torch.einsum("bci,cio->bco", x, self.weight) + self.bias


class CodeAttention(nn.Module):
    """Multi-head self-attention across the codes of each subject."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "subjects codes width"]) -> Tensor:
        """Each code attends all codes."""
        split = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(*split)
        result: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return result


def _value_slopes(pools: int) -> Float[Tensor, "pools"]:
    return torch.tensor([0.0, 0, 0, 4, -4, 0, 0, 0] + [0.0] * pools)[:pools]


def _age_slopes(pools: int) -> Float[Tensor, "pools"]:
    return torch.tensor([0.0, -60, 60, 0, 0, -6, 6, 0] + [0.0] * pools)[:pools]


class PredictionHead(nn.Module):
    """The joined axes to an embedding; then dropout, a residual layer, one output a task or class.

    Args:
        inputs: Width of what is joined.
        size: Width of the embedding.
        outputs: Logits a subject.
        dropout: Dropout of what is joined, and of the embedding, in training.
    """

    def __init__(
        self, inputs: int, size: int, *, outputs: int, dropout: tuple[float, float]
    ) -> None:
        super().__init__()
        self.dropout_joined = Dropout(dropout[0])
        self.embed = nn.Linear(inputs, size)
        self.dropout = Dropout(dropout[1])
        self.residual = nn.Sequential(nn.LayerNorm(size), FeedForward(size, size))
        self.out = nn.Linear(size, outputs)

    def embedding(self, joined: Float[Tensor, "subjects inputs"]) -> Float[Tensor, "subjects size"]:
        """The subject's embedding."""
        embedded: Tensor = self.embed(self.dropout_joined(joined))
        return embedded

    def forward(
        self, embedding: Float[Tensor, "subjects size"]
    ) -> Float[Tensor, "subjects outputs"]:
        """Logits, in the weights' own precision: rounded ones would tie subjects."""
        x = self.dropout(embedding)
        x = x + self.residual(x)
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.out(x.to(self.out.weight.dtype))
        return logits
