"""Which of several methods to use: measured in pairs, and said in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from setvae_cli.evaluation.paired import Figures, Interval, difference, interval

TITLES = {
    "summary_trees": "trees on summaries",
    "untrained": "probe, untrained",
    "probe": "linear probe",
    "embedding_trees": "trees on embeddings",
    "finetuned": "fine-tuned",
    "scratch": "from scratch",
    "ensemble": "ensemble",
    "blend": "fine-tuned + trees",
}
"""From the cheapest method to use to the dearest."""
AUROC, AUPRC = 0, 1


@dataclass(frozen=True)
class Method:
    """A method and what was measured of it.

    Attributes:
        name: One of `TITLES`.
        figures: Over all folds and repeats.
    """

    name: str
    figures: Figures


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: The method.
        auroc, auprc: With intervals over subjects.
        auroc_spread, auprc_spread: Standard deviation over folds and repeats; NaN of one split.
        auroc_gain, auprc_gain: What it has above the reference, in pairs; None of the reference.
        wins: Whether it is the best, by a difference from the reference that excludes 0.
        ahead: In how many folds and repeats its AUROC is the larger one, and of how many.
    """

    name: str
    auroc: Interval
    auprc: Interval
    auroc_spread: float
    auprc_spread: float
    auroc_gain: Interval | None
    auprc_gain: Interval | None
    wins: bool = False
    ahead: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Decision:
    """The table of one share of the labels.

    Attributes:
        share: Of the labels that could be read.
        labelled: Training subjects with a label, on average over folds.
        reference: The method that the others are compared with.
        rows: From the cheapest method to the dearest.
        advice: One sentence on what to choose.
        left_out: Test subjects that some method could not predict, and that none is measured on.
    """

    share: float
    labelled: int
    reference: str
    rows: tuple[Row, ...]
    advice: str
    left_out: int

    def row(self, name: str) -> Row | None:
        """The line of a method; None where it was not compared."""
        return next((row for row in self.rows if row.name == name), None)


@dataclass(frozen=True)
class Shares:
    """The tables of all shares of the labels, and what they were measured on.

    Attributes:
        label: What is predicted.
        folds: Of a cross-validation; None: the store's own splits.
        repeats: Ways of dealing out the folds.
        seeds: Of each network.
        scratch_epochs: Epochs of the network from scratch; None: there is none.
        decisions: From the smallest share to the largest.
        notes: What has to be known to read them.
    """

    label: str
    folds: int | None
    repeats: int
    seeds: int
    scratch_epochs: int | None
    decisions: tuple[Decision, ...]
    notes: tuple[str, ...] = ()


def decide(
    methods: Sequence[Method],
    *,
    share: float = 1.0,
    labelled: int = 0,
    left_out: int = 0,
    lacking: str | None = None,
) -> Decision:
    """Compare methods that were measured on the same subjects with the same bootstrap.

    The reference is the network from scratch; without it, a probe of the untrained network; without
    both, the best of what needs no fine-tuning.

    Args:
        methods: Each once.
        share, labelled, left_out: As `Decision` has them.
        lacking: What classes cannot be told apart by, if they cannot, one clause.
    """
    order = list(TITLES)
    ranked = sorted(methods, key=lambda method: order.index(method.name))
    reference = _reference(ranked)
    best = max(ranked, key=lambda method: _auroc(method))
    rows = tuple(_row(method, reference, best) for method in ranked)
    return Decision(
        share=share,
        labelled=labelled,
        reference=reference.name,
        rows=rows,
        advice=_advice(ranked, best, lacking),
        left_out=left_out,
    )


def _reference(methods: Sequence[Method]) -> Method:
    named = {method.name: method for method in methods}
    for name in ("scratch", "untrained"):
        if name in named:
            return named[name]
    tuned = ("finetuned", "ensemble", "blend")
    others = [method for method in methods if method.name not in tuned]
    return max(others or methods, key=_auroc)


def _auroc(method: Method) -> float:
    value = float(method.figures.mean[AUROC])
    return value if np.isfinite(value) else -1.0


def _row(method: Method, reference: Method, best: Method) -> Row:
    is_reference = method.name == reference.name
    gains = [
        None if is_reference else difference(method.figures, reference.figures, number)
        for number in (AUROC, AUPRC)
    ]
    gain, spread = gains[AUROC], method.figures.spread
    each = (method.figures.by_cell - reference.figures.by_cell)[:, AUROC]
    return Row(
        name=method.name,
        auroc=interval(method.figures, AUROC),
        auprc=interval(method.figures, AUPRC),
        auroc_spread=float(spread[AUROC]),
        auprc_spread=float(spread[AUPRC]),
        auroc_gain=gains[AUROC],
        auprc_gain=gains[AUPRC],
        wins=method is best and gain is not None and gain.low > 0,
        ahead=(int((each > 0).sum()), int(np.isfinite(each).sum())),
    )


def _advice(methods: Sequence[Method], best: Method, lacking: str | None) -> str:
    """The cheapest method that the best one does not beat by a difference that excludes 0."""
    if not np.isfinite(best.figures.mean[AUROC]):
        why = f"among the test subjects {lacking}" if lacking else "no AUROC can be computed"
        return f"Nothing to choose by: {why}."
    if not len(best.figures.samples):
        return f"{TITLES[best.name]} has the highest AUROC; without --resamples it may be chance."
    for method in methods:
        behind = difference(best.figures, method.figures, AUROC)
        if method is best:
            if method is methods[0]:
                return (
                    f"Choose {TITLES[best.name]}: no other is better, and none is cheaper to use."
                )
            return f"Choose {TITLES[best.name]}: it beats every cheaper method by more than chance."
        if not behind.low > 0:
            told = f"{behind.value:.3f} [{behind.low:.3f}, {behind.high:.3f}]"
            return (
                f"Choose {TITLES[method.name]}: {TITLES[best.name]} has an AUROC larger by {told}, "
                "which does not exclude 0, and costs more."
            )
    raise AssertionError("the best method is one of them")
