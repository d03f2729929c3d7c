"""The history: what the sets so far say, one state a set."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from setvae_cli.data.batch import Plan, Rectangles
from setvae_cli.nn.attention import Attention, FeedForward
from setvae_cli.nn.dropout import Dropout

POSITIONS = 512
FREQUENCIES = 8
DECAYS = 3


class TimeEncoding(nn.Module):
    """Continuous time, gaps and set sizes as a vector, plus a learned vector a place.

    Features of a set: position(s) over the time scale, logarithm of the gap to the set before,
    logarithm of the set's size, decays exp(-t / scale) at three rates, sines and cosines of
    pi k t / scale for k up to 16. Places beyond the 512th share its vector.

    Args:
        dim: Width of the result.
        axes: Numbers in a position (1: minutes; 3: mm).
        scale: Minutes (or mm) that count as one.
    """

    def __init__(self, dim: int, axes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.features = nn.Linear(axes * (1 + DECAYS + 2 * FREQUENCIES) + 2, dim)
        self.place = nn.Parameter(torch.zeros(POSITIONS, dim))
        steps = torch.linspace(1, 16, FREQUENCIES, dtype=torch.float64) * math.pi
        self.register_buffer("steps", steps, persistent=False)
        rates = torch.tensor([1.0, 8.0, 48.0], dtype=torch.float64)
        self.register_buffer("rates", rates, persistent=False)

    steps: Tensor
    rates: Tensor

    def forward(
        self,
        positions: Float[Tensor, "sets axes"],
        set_sizes: Int64[Tensor, "sets"],
        plan: Plan,
    ) -> Float[Tensor, "sets dim"]:
        """One vector a set; depends on the set itself and the gap before it only."""
        t = positions / self.scale
        place = torch.arange(plan.sets, device=t.device) - plan.subject_start.index_select(
            0, plan.set_subject
        )
        gap = (positions - positions.roll(1, 0)).norm(dim=-1, keepdim=True)
        gap = torch.where(place[:, None] > 0, gap, 0.0)
        angle = t[:, :, None] * self.steps.to(t.dtype)
        decay = torch.exp(-t[:, :, None].abs() * self.rates.to(t.dtype))
        waves = [angle.sin(), angle.cos(), decay]
        flat = [wave.flatten(1) for wave in waves]
        sizes = set_sizes[:, None].to(t.dtype)
        features = torch.cat([t, torch.log1p(gap) / 4, torch.log(sizes), *flat], dim=-1)
        encoded: Tensor = self.features(features)
        return encoded + self.place.index_select(0, place.clamp_max(POSITIONS - 1))


class HistoryLayer(nn.Module):
    """Pre-norm Transformer layer on packed rows (Xiong et al. 2020), GELU."""

    def __init__(self, dim: int, heads: int, ff_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ff_dim)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "sets dim"],
        by_subject: Rectangles,
        *,
        causal: bool,
        relaxation: float,
    ) -> Float[Tensor, "sets dim"]:
        """One layer."""
        attended = self.attention.within(
            self.norm_attention(x), by_subject, causal=causal, relaxation=relaxation
        )
        x = x + self.dropout(attended)
        result: Tensor = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        return result


class History(nn.Module):
    """Strictly causal (or bidirectional) Transformer over the sets of each subject.

    Args:
        layers: Number of layers.
        causal: Whether a state sees only its own set and earlier ones.
        relaxation: Share of future sets visible in training; 0 keeps causality strict.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        ff_dim: int,
        layers: int,
        *,
        dropout: float,
        causal: bool,
        relaxation: float = 0.0,
    ) -> None:
        super().__init__()
        self.causal, self.relaxation = causal, relaxation
        self.layers = nn.ModuleList(
            HistoryLayer(dim, heads, ff_dim, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, tokens: Float[Tensor, "sets dim"], by_subject: Rectangles
    ) -> Float[Tensor, "sets dim"]:
        """h_t of every set."""
        relaxation = self.relaxation if self.training else 0.0
        for layer in self.layers:
            tokens = layer(tokens, by_subject, causal=self.causal, relaxation=relaxation)
        states: Tensor = self.norm(tokens)
        return states


class Past(nn.Module):
    """The state before each set: h_{t-1}, and a learned start before the first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(dim))

    def forward(
        self, states: Float[Tensor, "sets dim"], subject_start: Int64[Tensor, "subjects"]
    ) -> Float[Tensor, "sets dim"]:
        """Shift states by one set inside each subject."""
        start = self.start.expand(len(subject_start), -1)
        return states.roll(1, 0).index_copy(0, subject_start, start.to(states.dtype))
