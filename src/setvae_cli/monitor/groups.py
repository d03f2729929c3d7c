"""Subjects in groups by row number, and random weights of groups: a bootstrap in one pass.

Sets of one subject resemble each other, so an interval has to resample subjects. Each subject
falls into one of 64 groups by a hash of its row number; only sums of groups are kept, whatever the
number of subjects. Resampling is a weighted mean of groups (Bayesian bootstrap, Rubin 1981).
Neither ranks nor batches nor an interruption change who falls where.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from setvae_cli.data.noise import counter_uniform

GROUPS = 64
REPLICATES = 200
GROUP_DRAW, WEIGHT_DRAW = 11, 12
NORMAL_QUANTILE = 1.959964  # 95 %, two-sided


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval over subjects.

    Attributes:
        value: Corrected for bias where the number is not a mean.
        low, high: Ends of the interval.
    """

    value: float
    low: float
    high: float


def group_of(rows: Int64[Tensor, "subjects"], groups: int = GROUPS) -> Int64[Tensor, "subjects"]:
    """The group of each subject."""
    uniform = counter_uniform(0, 0, 0, rows, torch.zeros_like(rows), draw=GROUP_DRAW)
    return (uniform * groups).long()


def replicate_weights(
    taken: Float[Tensor, "groups"], replicates: int = REPLICATES
) -> Float[Tensor, "replicates groups"]:
    """Exponential weights of groups, 0 for groups without subjects; on the CPU, float64."""
    number = torch.arange(replicates)[:, None].expand(-1, len(taken)).flatten()
    group = torch.arange(len(taken)).repeat(replicates)
    uniform = counter_uniform(0, 0, 0, number, group, draw=WEIGHT_DRAW).double()
    weights = -torch.log1p(-uniform).view(replicates, len(taken))
    return weights * (taken.cpu() > 0)


def bootstrap(
    statistic: Callable[[Float[Tensor, "some groups"]], Float[Tensor, "some numbers"]],
    taken: Float[Tensor, "groups"],
    *,
    replicates: int = REPLICATES,
    at_once: int = 25,
) -> list[Interval]:
    """Statistics of weighted groups, less their bias, with intervals.

    A statistic that bends (a logarithm of a determinant) is biased by scatter; resampling scatters
    once more, so the mean over replicates lies as far off again. Weights of g groups scatter by
    (g - 1) / (g + 1) of what fresh subjects would, which is made up for.

    Args:
        statistic: From rows of weights to one or more numbers a row.
        taken: Subjects in each group.
        replicates: Resamples.
        at_once: Rows handed over together, which bounds memory.

    Returns:
        One interval a number; none with subjects in fewer than two groups.
    """
    groups = int((taken > 0).sum())
    if groups < 2:
        return []
    plain = statistic((taken.cpu() > 0).double()[None])[0]
    weights = replicate_weights(taken, replicates).split(at_once)
    found = torch.cat([statistic(part) for part in weights])
    factor = (groups + 1) / (groups - 1)
    value = plain - factor * (found.mean(0) - plain)
    reach = NORMAL_QUANTILE * math.sqrt(factor) * found.std(0)
    ends = torch.stack([value, value - reach, value + reach], 1).tolist()
    return [Interval(*numbers) for numbers in ends]
