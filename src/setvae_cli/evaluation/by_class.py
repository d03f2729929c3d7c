"""Each class of a label of several against all others: how frequent, foretold, and how ranked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from setvae_cli.evaluation.bootstrap import Tick, interval, resampled
from setvae_cli.evaluation.labelled import Doubles, Labelled, probabilities
from setvae_cli.evaluation.metrics import rank_metrics
from setvae_cli.evaluation.subgroups import Figure


@dataclass(frozen=True)
class OneClass:
    """A class.

    Attributes:
        name: What it is called.
        subjects: Labelled subjects of it.
        expected: Mean predicted probability.
        auroc: Against all others, with its bootstrap interval; None where it is not defined.
    """

    name: str
    subjects: int
    expected: float
    auroc: Figure | None


def by_class(
    of: Labelled, *, resamples: int = 1000, seed: int = 0, tick: Tick | None = None
) -> tuple[OneClass, ...]:
    """Figures of each class; none of two classes, of which one figure tells all.

    Args:
        of: Labelled subjects of one task.
        resamples: Bootstrap samples of an interval; 0: no intervals.
        seed: Seed of the bootstrap.
        tick: Is told which share of the resamples is done.
    """
    if of.binary or of.unusable:
        return ()
    exact = _aurocs(of, np.ones((1, len(of))))[0]
    samples = resampled(of, _aurocs, of.classes, resamples=resamples, seed=seed, tick=tick)
    expected = probabilities(of.logits).mean(axis=0)
    return tuple(
        OneClass(
            of.named(number),
            int((of.labels == number).sum()),
            float(expected[number]),
            Figure(float(value), *interval(samples[:, number])) if np.isfinite(value) else None,
        )
        for number, value in enumerate(exact)
    )


def _aurocs(of: Labelled, weights: Doubles) -> Doubles:
    """[samples, classes]"""
    return np.stack([rank_metrics(*side, weights)[0] for side in of.sides], axis=1)
