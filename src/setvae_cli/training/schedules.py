"""What a step number fixes: learning rate, averaging, seeds. Pure functions, nothing remembered."""

from __future__ import annotations

import math
from collections.abc import Iterable

_MASK = (1 << 64) - 1


def warmup_steps(warmup: float, planned: int) -> int:
    """Steps of a warm-up: itself, or below 1 a share of the planned steps."""
    return math.ceil(warmup * planned) if warmup < 1 else int(warmup)


def lr_factor(step: int, planned: int, *, warmup: float, cosine: bool) -> float:
    """Learning rate of a step relative to its largest.

    Linear warm-up, then half a cosine down to 0 at the planned end (Loshchilov and Hutter 2017,
    equation 5, one cycle), or constant.

    Args:
        step: Optimizer steps done before this one.
        planned: Optimizer steps of the whole run.
        warmup: Steps until the rate is full; below 1 a share of the planned steps.
        cosine: Whether it falls after that.

    >>> [round(lr_factor(s, 10, warmup=2, cosine=True), 3) for s in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rising = warmup_steps(warmup, planned)
    if step < rising:
        return (step + 1) / rising
    if not cosine:
        return 1.0
    done = (step - rising) / max(planned - rising, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def averaging_decay(step: int, decay: float) -> float:
    """Share of the old average that a step keeps: small at first, so that it forgets the start.

    Args:
        step: Optimizer steps done, this one included.
        decay: Largest share.
    """
    return min(decay, (1 + step) / (10 + step))


def dropout_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """A seed of 63 bits for the dropout of one micro-batch on one rank (SplitMix64 rounds)."""
    state = seed
    for number in (epoch, batch, rank):
        state = _mix((state + 0x9E3779B97F4A7C15 * (number + 1)) & _MASK)
    return state >> 1


def planned_steps(
    batches: Iterable[int], accumulation: int, max_steps: int | None
) -> tuple[int, int]:
    """Optimizer steps of a run, and the epochs they take.

    Args:
        batches: Micro-batches of each epoch; they are asked for as far as `max_steps` reaches.
        accumulation: Micro-batches of a step; the last step of an epoch may hold fewer.
        max_steps: Most steps; None: as many as the epochs have.

    >>> planned_steps([7, 8, 7], 2, None), planned_steps([7, 8, 7], 2, 5)
    ((12, 3), (5, 2))
    """
    steps = epochs = 0
    for count in batches:
        epochs += 1
        steps += math.ceil(count / accumulation)
        if max_steps is not None and steps >= max_steps:
            return max_steps, epochs
    return steps, epochs


def validation_interval(interval: float, batches: int, accumulation: int) -> int:
    """Micro-batches between validations: whole optimizer steps, an epoch at most.

    Args:
        interval: A share of an epoch, or micro-batches when above 1.
        batches: Micro-batches of an epoch.
        accumulation: Micro-batches of a step. A validation inside a step would leave a checkpoint
            without the gradients that were already gathered.
    """
    wanted = interval * batches if interval <= 1 else interval
    whole = max(1, int(wanted / accumulation)) * accumulation
    return batches if wanted >= batches else min(whole, batches)


def _mix(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)
