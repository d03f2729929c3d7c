"""How numbers of curves are written, and how the field reads them."""

from __future__ import annotations


def significant(value: float) -> str:
    """A number with three significant digits and no exponent where one can do without.

    >>> significant(0.00123), significant(25.6), significant(1234.5)
    ('0.00123', '25.6', '1 234')
    """
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def of_auc(value: float) -> str:
    """How an AUROC reads.

    >>> of_auc(0.33), of_auc(0.52), of_auc(0.57), of_auc(0.74), of_auc(0.93)
    ('below guessing', 'near guessing', 'poor', 'good', 'excellent')
    """
    bounds = ((0.9, "excellent"), (0.8, "very good"), (0.7, "good"), (0.6, "fair"), (0.55, "poor"))
    words = (*bounds, (0.45, "near guessing"))
    return next((word for least, word in words if value >= least), "below guessing")


def of_kl(value: float) -> str:
    """How a KL in nats a set reads; a guide, and never a verdict."""
    if value < 0.01:
        return "suspect: next to nothing"
    if value > 100:
        return "alarming: above 100"
    return "in the usual range, 0.1 to 10" if 0.1 <= value <= 10 else "outside the usual 0.1 to 10"


GUIDE = (
    "AUROC 0.5 is guessing, 0.7 to 0.8 good, above 0.9 excellent. AUPRC is the one to read on rare "
    "outcomes: guessing gives the share of positives.",
    "KL usually lies between 0.1 and 10 nats a set, beside its own floor (free bits times "
    "dimensions). A large KL alone shows no health.",
    "Beta should rise from 0 to its largest value, and not too fast.",
    "AUROC, AUPRC and accuracy should rise together.",
)
