"""What a set looks like, given its latents and the past: likelihoods, or distances.

`QueryDecoder` is a likelihood in nats: is each code present, and what is its value.
`ChamferDecoder` makes elements; its distances live in losses/reconstruction.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from setvae_cli.data.batch import Plan
from setvae_cli.nn.attention import FullSetAttention, InducedSetAttention

DENSE_CODES = 512
SLOTS = 256


class CodeHeads(nn.Module):
    """Numbers a code from products [dim -> codes].

    Up to 512 codes whole products are made and read; above, only what is asked for.

    Args:
        dim: Width of the set's state.
        codes: Number of codes.
        numbers: Numbers a code.
    """

    def __init__(self, dim: int, codes: int, numbers: int) -> None:
        super().__init__()
        self.codes, self.numbers = codes, numbers
        self.weight = nn.Parameter(torch.randn(codes * numbers, dim) / dim**0.5 * 0.1)
        self.bias = nn.Parameter(torch.zeros(codes * numbers))

    def all(
        self, state: Float[Tensor, "sets dim"], first: int, last: int
    ) -> Float[Tensor, "sets codes_times_numbers"]:
        """Numbers `first` to `last` (not included) of every code of every set.

        Asked for apart, numbers that are read apart lie together in memory: softplus of every
        third number takes ten times as long.
        """
        weight = self.weight.view(self.codes, self.numbers, -1)[:, first:last].flatten(0, 1)
        bias = self.bias.view(self.codes, self.numbers)[:, first:last].reshape(-1)
        return torch.nn.functional.linear(state, weight, bias)

    def some(
        self, state: Float[Tensor, "sets dim"], codes: Int64[Tensor, "sampled"]
    ) -> Float[Tensor, "sets sampled"]:
        """The first number of chosen codes of every set."""
        rows = codes * self.numbers
        weight, bias = self.weight.index_select(0, rows), self.bias.index_select(0, rows)
        return torch.nn.functional.linear(state, weight, bias)

    def at(
        self,
        state: Float[Tensor, "sets dim"],
        sets: Int64[Tensor, "elements"],
        keys: Int64[Tensor, "elements"],
    ) -> Float[Tensor, "elements numbers"]:
        """The element's own code in its own set."""
        weight = self.weight.unflatten(0, (self.codes, self.numbers)).index_select(0, keys)
        bias = self.bias.view(self.codes, self.numbers).index_select(0, keys)
        return torch.einsum("ed,end->en", state.index_select(0, sets), weight) + bias


class QueryDecoder(nn.Module):
    """Presence of every code, and a density of every value given its code.

    Args:
        condition: Width of the conditioning state.
        hidden: Width of the decoder's own state.
        kinds: numeric, presence, binary or category, one a code.
        classes: Sorted classes of each category code, in the order of codes; else empty.
    """

    def __init__(
        self, condition: int, hidden: int, kinds: Sequence[str], classes: Sequence[Sequence[float]]
    ) -> None:
        super().__init__()
        self.state = nn.Sequential(nn.Linear(condition, hidden), nn.GELU())
        self.heads = CodeHeads(hidden, len(kinds), 3)
        is_kind = {name: torch.tensor([k == name for k in kinds]) for name in ("numeric", "binary")}
        self.register_buffer("is_numeric", is_kind["numeric"], persistent=False)
        self.register_buffer("is_binary", is_kind["binary"], persistent=False)
        self.category = CategoryHeads(hidden, kinds, classes) if "category" in kinds else None

    is_numeric: Bool[Tensor, "codes"]
    is_binary: Bool[Tensor, "codes"]

    @property
    def codes(self) -> int:
        """Number of codes."""
        return self.heads.codes

    def forward(self, condition: Float[Tensor, "sets condition"]) -> Float[Tensor, "sets hidden"]:
        """The decoder's state of each set; losses read the heads from it."""
        state: Tensor = self.state(condition)
        return state


class CategoryHeads(nn.Module):
    """Class log-probabilities of category codes.

    Args:
        hidden: Width of the decoder's state.
        kinds: One a code.
        classes: Sorted classes of each category code; empty for other kinds.
    """

    slot: Int64[Tensor, "codes"]
    values: Float[Tensor, "slots choices"]

    def __init__(
        self, hidden: int, kinds: Sequence[str], classes: Sequence[Sequence[float]]
    ) -> None:
        super().__init__()
        chosen = [c for c, kind in enumerate(kinds) if kind == "category"]
        width = max(len(classes[c]) for c in chosen)
        values = torch.full((len(chosen), width), torch.inf, dtype=torch.float64)
        slot = torch.full((len(kinds),), -1, dtype=torch.int64)
        for place, code in enumerate(chosen):
            values[place, : len(classes[code])] = torch.tensor(list(classes[code]))
            slot[code] = place
        self.register_buffer("slot", slot, persistent=False)
        self.register_buffer("values", values, persistent=False)
        self.linear = nn.Linear(hidden, values.numel())

    def log_probability(
        self,
        state: Float[Tensor, "sets hidden"],
        sets: Int64[Tensor, "elements"],
        keys: Int64[Tensor, "elements"],
        values: Float[Tensor, "elements"],
    ) -> tuple[Float[Tensor, "elements"], Bool[Tensor, "elements"]]:
        """Log-probability of each element's class, and which elements are categories."""
        logits = self.linear(state).unflatten(-1, self.values.shape)
        table = logits.masked_fill(self.values.isinf(), -torch.inf).log_softmax(-1)
        slot = self.slot.index_select(0, keys)
        is_category, slot = slot >= 0, slot.clamp_min(0)
        known = self.values.to(values.dtype).index_select(0, slot)
        choice = (known - values[:, None]).abs().argmin(-1)
        slots, width = self.values.shape
        flat = (sets * slots + slot) * width + choice
        return table.reshape(-1).index_select(0, flat), is_category


class ChamferDecoder(nn.Module):
    """As many elements as the set has, made from one vector by attention among learned slots.

    Args:
        condition: Width of the conditioning state.
        dim: Width of elements.
        levels: Attention blocks.
        points: Inducing points; 0 for plain attention.
        tanh: Whether outputs are bounded.
    """

    def __init__(
        self,
        condition: int,
        dim: int,
        *,
        heads: int,
        ff_dim: int,
        levels: int,
        points: int,
        tanh: bool,
    ) -> None:
        super().__init__()
        self.start = nn.Linear(condition, dim)
        self.slots = nn.Parameter(torch.randn(SLOTS, dim) / dim**0.5)
        self.blocks = nn.ModuleList(
            InducedSetAttention(dim, heads, ff_dim, points)
            if points
            else FullSetAttention(dim, heads, ff_dim)
            for _ in range(levels)
        )
        self.out = nn.Linear(dim, dim)
        self.tanh = tanh

    def forward(
        self, condition: Float[Tensor, "sets condition"], plan: Plan
    ) -> Float[Tensor, "elements dim"]:
        """Element vectors, packed as the batch's own; their order inside a set means nothing."""
        assert plan.by_set is not None, "the loader made no set plan"
        start = plan.set_start.index_select(0, plan.element_set)
        place = torch.arange(plan.elements, device=condition.device) - start
        x = self.slots.index_select(0, place % SLOTS)
        x = x + self.start(condition).index_select(0, plan.element_set)
        for block in self.blocks:
            x = block(x, plan.by_set)
        made: Tensor = self.out(x)
        return made.tanh() if self.tanh else made
