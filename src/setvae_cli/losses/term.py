"""A further term of the loss, beside those of the ELBO and of prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """A raw sum over one micro-batch, and what it is a sum of.

    In the loss of a step its sum is weighted and divided by the step's subjects times `per`, so
    that micro-batches and ranks add up.

    Attributes:
        sum: Nats.
        count: How many are summed, for the mean that is logged.
        weight: In the loss.
        per: What a subject counts for; None: the mean sets of a subject, as in the ELBO.
    """

    sum: Float[Tensor, ""]
    count: Float[Tensor, ""] | Int[Tensor, ""]
    weight: float
    per: float | None = None


def means_of(sums: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Means of further terms from their sums and counts; of what was not there is none.

    The parts of the forecast, called `forecast_...`, have their sum beside them as `forecast`.
    """
    found = {name: total / count for name, (total, count) in sums.items() if count}
    parts = [value for name, value in found.items() if name.startswith("forecast_")]
    return {"forecast": sum(parts), **found} if parts else found
