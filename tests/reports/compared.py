"""Comparisons as they are measured, made up for reports."""

from __future__ import annotations

from collections.abc import Sequence

from setvae_cli.evaluation.decision import Decision, Row, Shares
from setvae_cli.evaluation.paired import Interval

METHODS = ("summary_trees", "probe", "embedding_trees", "finetuned", "scratch", "ensemble", "blend")
GAINS = {"summary_trees": -0.03, "finetuned": 0.02, "ensemble": 0.03, "blend": 0.04}
NAN = float("nan")


def shares(of: Sequence[float] = (1.0,), *, folds: int | None = 5, seeds: int = 3) -> Shares:
    """A comparison with these shares of the labels."""
    return Shares(
        label="death",
        folds=folds,
        repeats=1,
        seeds=seeds,
        scratch_epochs=20,
        decisions=tuple(_decision(share, folds, seeds) for share in of),
        notes=("pre-training was repeated inside every fold, without its test subjects",),
    )


def _decision(share: float, folds: int | None, seeds: int) -> Decision:
    names = [name for name in METHODS if seeds > 1 or name != "ensemble"]
    rows = tuple(_row(name, share, 0.01 if folds else NAN) for name in names)
    advice = (
        "Choose ensemble: fine-tuned + trees has an AUROC larger by 0.005 [-0.001, 0.010], which "
        "does not exclude 0, and costs more."
    )
    return Decision(share, round(2560 * share), "scratch", rows, advice, 0)


def _row(name: str, share: float, spread: float) -> Row:
    gain = GAINS.get(name, 0.001)
    value = 0.7 + 0.1 * share + gain
    gains = None if name == "scratch" else _around(gain, 0.011)
    auroc, auprc = _around(value, 0.02), _around(value - 0.3, 0.04)
    ahead = (4, 5) if spread == spread else (1, 1)
    return Row(name, auroc, auprc, spread, 2 * spread, gains, gains, name == "blend", ahead)


def _around(value: float, width: float) -> Interval:
    return Interval(value, value - width, value + width)
