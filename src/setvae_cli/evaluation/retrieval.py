"""Whether slices of one subject find one another among the slices of all: recall at k.

CoLES is validated so (Babaev et al. 2022): for each slice, the k nearest other slices by cosine
are looked up. Found are those of its own subject; they are divided by as many as could be among k.
At k = 1 that is the share of slices whose nearest neighbour is of their own subject. Slices at one
distance share the places left among the k, so that embeddings which are all equal find what chance
finds, in whichever order they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

MOST_CELLS = 1 << 24  # similarities held at once: 64 MiB of float32


def recall_at(
    embedding: Float[Tensor, "slices dim"],
    subject: Int64[Tensor, "slices"],
    ks: Sequence[int],
    *,
    most_cells: int = MOST_CELLS,
) -> dict[int, float]:
    """Mean recall at each k over the slices whose subject has another slice.

    Args:
        embedding: Of any length; compared by cosine, in the precision given.
        subject: Equal numbers are slices of one subject.
        ks: How many neighbours, each at least 1.
        most_cells: Similarities that are in memory at once.

    Returns:
        For each k below the number of slices; nothing where no subject has two slices.
    """
    ks = [k for k in ks if k < len(subject)]
    others = _others(subject)
    asked = torch.nonzero(others > 0)[:, 0]
    if not ks or not len(asked):
        return {}
    unit = functional.normalize(embedding, dim=1)
    found = torch.zeros(len(ks), dtype=torch.float64)
    for chunk in _chunks(asked, max(1, most_cells // len(subject))):
        found += _found(unit, subject, chunk, others[chunk], ks)
    return {k: value / len(asked) for k, value in zip(ks, found.tolist(), strict=True)}


def _found(
    unit: Float[Tensor, "slices dim"],
    subject: Int64[Tensor, "slices"],
    chunk: Int64[Tensor, "chunk"],
    others: Int64[Tensor, "chunk"],
    ks: Sequence[int],
) -> Float[Tensor, "ks"]:
    """Sum of recalls of some slices at each k, float64 on the CPU."""
    cosine = unit[chunk] @ unit.T
    cosine[torch.arange(len(chunk), device=cosine.device), chunk] = -torch.inf
    mine = subject[chunk][:, None] == subject
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


def _others(subject: Int64[Tensor, "slices"]) -> Int64[Tensor, "slices"]:
    """Other slices of the subject of each slice."""
    _, place, counts = torch.unique(subject, return_inverse=True, return_counts=True)
    others: Tensor = counts[place] - 1
    return others


def _chunks(items: Int64[Tensor, "items"], size: int) -> Iterator[Int64[Tensor, "chunk"]]:
    return iter(items.split(size))
