"""Why a fine-tuning loss did not fall: one sentence with the likely cause, or nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALL = 0.01  # share by which a loss has to fall to have fallen
RESTING, FEW, SMALL, CLIPPED, LOW = 0.9, 20, 1e-3, 10.0, 1e-4


@dataclass(frozen=True)
class Facts:
    """What a run that is over knows of itself.

    Attributes:
        losses: Mean prediction loss of each epoch, nats a label; NaN where no label was seen.
        guessing: Loss of predicting the shares of classes, nats a label.
        norms: Mean norm of the gradient in each epoch, before clipping.
        clip: Largest norm; 0: no clip.
        rate, ratio: Largest learning rate of the head, and the encoder's share of it.
        resting: Share of the encoder's weights that were frozen in the end; 1: in every step.
        labels: Training subjects of each class, by label.
    """

    losses: Sequence[float]
    guessing: float
    norms: Sequence[float]
    clip: float
    rate: float
    ratio: float
    resting: float
    labels: Mapping[str, Sequence[int]]


def diagnose(facts: Facts) -> str | None:
    """One sentence where the loss ended no lower than guessing, or higher than it began."""
    losses = [loss for loss in facts.losses if math.isfinite(loss)]
    if not losses:
        return None
    first, last = losses[0], float(np.mean(losses[-max(1, len(losses) // 4) :]))
    if last <= min((1 - FALL) * facts.guessing, (1 + FALL) * first):
        return None
    told = f"epoch 1 {first:.3f}, last {last:.3f}, guessing {facts.guessing:.3f}"
    ended = f"{'hardly' if last < facts.guessing else 'no'} better than guessing classes"
    if last < (1 - FALL) * facts.guessing:
        ended = "with a higher loss than it began"
    return f"training ended {ended} ({told}): {_cause(facts, first, last)}"


def guessing_loss(
    counts: Sequence[Sequence[int]],
    weights: Sequence[Sequence[float]],
    smoothing: float,
) -> float:
    """Mean cross-entropy a label of the best constant prediction, as training weighs it.

    Args:
        counts: Training subjects of each class, one list a label.
        weights: Weight of each class of each label; nothing: 1.
        smoothing: Label smoothing.

    Returns:
        Nats.
    """
    total = sum(sum(each) for each in counts)
    losses = [
        sum(each) * _constant(np.array(each), np.array(weights[n] if weights else 1.0), smoothing)
        for n, each in enumerate(counts)
    ]
    return sum(losses) / max(total, 1)


def _constant(counts: NDArray[np.int64], weights: NDArray[np.float64], smoothing: float) -> float:
    mass = weights * counts / max(int(counts.sum()), 1)
    target = (1 - smoothing) * mass + smoothing * mass.sum() / len(counts)
    share = target / target.sum()
    return float(-(target * np.log(np.where(share > 0, share, 1.0))).sum())


def _cause(facts: Facts, first: float, last: float) -> str:
    losses = [loss for loss in facts.losses if math.isfinite(loss)]
    rarest = min((size, task) for task, sizes in facts.labels.items() for size in sizes)
    norms = [norm for norm in facts.norms if math.isfinite(norm)]
    norm = norms[-1] if norms else math.nan
    rested = facts.resting == 1
    if len(losses) > 1 and losses[-1] < (1 - FALL) * min(losses[:-1]):
        falling = f"it was still falling after {len(losses)} epochs"
        if rested:
            mend = "let it learn with --freeze none, or raise --max-epochs"
            return f"{falling}, and the encoder rested in all of them; {mend}"
        return f"{falling}; raise --max-epochs, or --lr"
    if rarest[0] < FEW:
        subjects = "subject" if rarest[0] == 1 else "subjects"
        return f"a class of {rarest[1]} has {rarest[0]} training {subjects}, which is few"
    if last > (1 + FALL) * first and facts.rate > LOW:
        return f"it rose, so the learning rate {facts.rate:g} is likely too high; lower --lr"
    if rested:
        return "the encoder rested in every step; let it learn with --freeze none"
    if facts.resting > RESTING:
        share = f"{100 * facts.resting:.0f} % of the encoder"
        return f"{share} rested to the end; let it learn with --freeze none, or a lower bound"
    if norm < SMALL:
        return f"gradients are nearly nothing (norm {norm:.1g}); try another --activation or --lr"
    if facts.clip and norm > CLIPPED * facts.clip:
        return f"gradients of norm {norm:.0f} were clipped to {facts.clip:g}; lower --lr"
    if facts.rate <= LOW or facts.rate * facts.ratio <= LOW / 10:
        rates = f"head {facts.rate:g}, encoder {facts.rate * facts.ratio:g}"
        return f"learning rates are low ({rates}); raise --lr or --encoder-lr-ratio"
    mend = "--freeze none, or more epochs" if facts.resting else "more epochs"
    return f"the embedding may not know this label; try {mend}"
