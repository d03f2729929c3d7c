"""An element as a vector: interpolated table rows, or the original's direction times value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Located:
    """Where each element lies in a table of knots: between two rows.

    Attributes:
        rows: The two rows.
        weights: Their weights, which sum to 1.
    """

    rows: Int64[Tensor, "elements 2"]
    weights: Float[Tensor, "elements 2"]


class Knots(nn.Module):
    """The knots of every code: rows of a table, placed at values of the code.

    A code with values has a row for each of its distinct knots, a code without values one row.
    Between two knots a value is shared linearly, outside it belongs to the nearest knot; so a value
    at its mean is an event like any other.

    Args:
        knots: Ascending knots of each code in units of `SetBatch.values`; empty: no values.
    """

    values: Tensor
    first: Tensor
    last: Tensor
    code: Tensor
    offset: Tensor

    def __init__(self, knots: Sequence[np.ndarray]) -> None:
        super().__init__()
        distinct = [np.unique(np.asarray(k, dtype=np.float64)) for k in knots]
        counts = np.array([max(len(k), 1) for k in distinct], dtype=np.int64)
        padded = np.full((len(distinct), counts.max(initial=1)), np.inf)
        for row, k in zip(padded, distinct, strict=True):
            row[: max(len(k), 1)] = k if len(k) else 0.0
        first = np.cumsum(counts) - counts
        self.rows = int(counts.sum())
        centred = np.concatenate([np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in counts])
        self.register_buffer("values", torch.from_numpy(padded), persistent=False)
        self.register_buffer("first", torch.from_numpy(first), persistent=False)
        self.register_buffer("last", torch.from_numpy(counts - 1), persistent=False)
        code = np.repeat(np.arange(len(distinct)), counts)
        self.register_buffer("code", torch.from_numpy(code), persistent=False)
        self.register_buffer("offset", torch.from_numpy(centred), persistent=False)

    def forward(
        self, keys: Int32[Tensor, "elements"], values: Float[Tensor, "elements"]
    ) -> Located:
        """Place each element between two rows."""
        keys = keys.long()
        knots = self.values.to(values.dtype).index_select(0, keys)
        last = self.last.index_select(0, keys)
        low = torch.minimum((knots <= values[:, None]).sum(1) - 1, last - 1).clamp_min(0)
        high = torch.minimum(low + 1, last)
        at_low, at_high = knots.gather(1, torch.stack([low, high], 1)).unbind(1)
        gap = at_high - at_low
        share = torch.where(gap > 0, (values - at_low) / gap.clamp_min(1e-12), 0.0).clamp(0, 1)
        rows = self.first.index_select(0, keys)[:, None] + torch.stack([low, high], 1)
        return Located(rows, torch.stack([1 - share, share], 1))


def interpolate(
    table: Float[Tensor, "rows dim"], located: Located
) -> Float[Tensor, "elements dim"]:
    """One row a element: the two table rows, weighted."""
    return functional.embedding_bag(
        located.rows, table, per_sample_weights=located.weights.to(table.dtype), mode="sum"
    )


def interpolated_sums(
    table: Float[Tensor, "rows dim"], located: Located, set_start: Int64[Tensor, "sets"]
) -> Float[Tensor, "sets dim"]:
    """The sum of `interpolate` over each set, without a row an element in between."""
    return functional.embedding_bag(
        located.rows.reshape(-1),
        table,
        2 * set_start,
        per_sample_weights=located.weights.reshape(-1).to(table.dtype),
        mode="sum",
    )


class CodeTable(nn.Module):
    """One vector a code: learned, plus a projection of given (text) embeddings where there are any.

    Args:
        codes: Number of codes.
        dim: Width of the vectors.
        given: Embeddings [codes, width], or None.
    """

    given: Tensor | None

    def __init__(self, codes: int, dim: int, given: np.ndarray | None = None) -> None:
        super().__init__()
        self.learned = nn.Parameter(torch.randn(codes, dim) / dim**0.5)
        self.register_buffer(
            "given", None if given is None else torch.from_numpy(np.array(given, np.float32))
        )
        if given is not None:
            self.project = nn.Linear(given.shape[1], dim, bias=False)

    def forward(self) -> Float[Tensor, "codes dim"]:
        """The table, projected once."""
        if self.given is None:
            return self.learned
        projected: Tensor = self.project(self.given.to(self.learned.dtype))
        return self.learned + projected


class InterpolatedEmbedding(nn.Module):
    """Piecewise-linear value embedding: rows = code vector + slope x position + what is learned.

    Args:
        knots: The knots of every code.
        dim: Width of an element.
        given: Text embeddings of the codes, or None.
    """

    def __init__(self, knots: Knots, dim: int, given: np.ndarray | None = None) -> None:
        super().__init__()
        self.codes = CodeTable(len(knots.first), dim, given)
        slope = torch.randn(len(knots.first), dim) / dim**0.5
        rows = slope[knots.code] * knots.offset[:, None].float()
        self.rows = nn.Parameter(rows + 0.01 * torch.randn_like(rows))
        self.register_buffer("code", knots.code, persistent=False)

    code: Tensor

    def forward(self) -> Float[Tensor, "rows dim"]:
        """The table of rows, made once a step."""
        codes: Tensor = self.codes()
        return codes.index_select(0, self.code) + self.rows


class ProductEmbedding(nn.Module):
    """The original's element: the code's direction times its standardised value.

    A presence-only element has the value 1. A value of 0 erases its event, which is why
    interpolation is the default.
    """

    def __init__(self, codes: int, dim: int, given: np.ndarray | None = None) -> None:
        super().__init__()
        self.codes = CodeTable(codes, dim, given)

    def forward(
        self,
        keys: Int32[Tensor, "elements"],
        values: Float[Tensor, "elements"],
        value_mask: Tensor,
    ) -> Float[Tensor, "elements dim"]:
        """One vector an element."""
        direction = functional.normalize(self.codes(), dim=-1)
        amount = torch.where(value_mask, values, torch.ones_like(values))
        return direction.index_select(0, keys.long()) * amount[:, None]
