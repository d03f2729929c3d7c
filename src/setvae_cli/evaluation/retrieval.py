"""Whether slices of one subject find one another among the slices of all: recall at k.

CoLES is validated so (Babaev et al. 2022): for each slice, the k nearest other slices by cosine
are looked up. Found are those of its own subject; they are divided by as many as could be among k.
At k = 1 that is the share of slices whose nearest neighbour is of their own subject. Slices at one
distance share the places left among the k, so that embeddings which are all equal find what chance
finds, in whichever order they stand.

Slices of one subject that share a set know one another by it. With spans they are not looked up, so
that recall says what a subject keeps from one time to another; slices without a slice of their own
subject beside them in time are not asked, and neither are subjects of a single set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

MOST_CELLS = 1 << 24  # similarities held at once: 64 MiB of float32


def recall_at(
    embedding: Float[Tensor, "slices dim"],
    subject: Int64[Tensor, "slices"],
    ks: Sequence[int],
    spans: Int64[Tensor, "slices 2"] | None = None,
    *,
    most_cells: int = MOST_CELLS,
) -> dict[int, float]:
    """Mean recall at each k over the slices whose subject has another slice to find.

    Args:
        embedding: Of any length; compared by cosine, in the precision given.
        subject: Equal numbers are slices of one subject.
        ks: How many neighbours, each at least 1.
        spans: First set of each slice inside its subject, and the end: slices of one subject that
            share a set are not looked up; None: all are.
        most_cells: Similarities that are in memory at once.

    Returns:
        For each k below the number of slices; nothing where no subject has two slices to find.
    """
    ks = [k for k in ks if k < len(subject)]
    if spans is None:
        each = torch.arange(len(subject), device=subject.device)
        spans = torch.stack((each, each + 1), 1)
    unit = functional.normalize(embedding, dim=1)
    found, asked = torch.zeros(len(ks), dtype=torch.float64), 0
    for chunk in _chunks(len(subject) if ks else 0, max(1, most_cells // max(1, len(subject)))):
        same = subject[chunk][:, None] == subject
        apart = (spans[chunk, :1] >= spans[:, 1]) | (spans[chunk, 1:] <= spans[:, 0])
        asking = (same & apart).any(1)
        found += _found(unit[chunk][asking] @ unit.T, same[asking], apart[asking], ks)
        asked += int(asking.sum())
    return {k: value / asked for k, value in zip(ks, found.tolist(), strict=True)} if asked else {}


def _found(
    cosine: Float[Tensor, "asking slices"],
    same: Bool[Tensor, "asking slices"],
    apart: Bool[Tensor, "asking slices"],
    ks: Sequence[int],
) -> Float[Tensor, "ks"]:
    """Sum of recalls of some slices at each k, float64 on the CPU."""
    mine = same & apart
    cosine = cosine.masked_fill(same & ~apart, -torch.inf)  # the slice itself is among these
    others = mine.sum(1)
    nearest = cosine.topk(max(ks), dim=1).values
    sums = []
    for k in ks:
        last = nearest[:, k - 1 : k]
        above, level = cosine > last, cosine == last
        places = k - above.sum(1)  # left for those at the distance of the last
        share = places.double() / level.sum(1)
        hits = (above & mine).sum(1) + share * (level & mine).sum(1)
        sums.append((hits / others.clamp_max(k)).sum().cpu())
    return torch.stack(sums)


def _chunks(items: int, size: int) -> Iterator[slice]:
    return (slice(begin, begin + size) for begin in range(0, items, size))
