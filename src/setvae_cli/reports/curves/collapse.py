"""Whether a posterior collapsed: the monitor's verdict, and for logs without one what KL tells.

`warming` is no verdict: a run that ended in it is judged by its KL.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from setvae_cli.numbers import count
from setvae_cli.reports.curves.diagnosis import Diagnosis, State
from setvae_cli.reports.curves.legacy import floor_hides
from setvae_cli.reports.curves.levels import has_levels
from setvae_cli.reports.curves.readings import significant
from setvae_cli.reports.curves.series import Curves, Series
from setvae_cli.reports.curves.summary import KL, VAL_KL, average_of_last
from setvae_cli.reports.curves.told import WARMING, Verdict, standing

NAME = "posterior collapse"
COLLAPSED, PARTIAL, SHRUNK = 0.1, 0.5, 0.1  # nats, nats, share of the peak
LEAST_BETAS = 4
OF_VERDICTS = "the monitor's verdict on validation says collapsed, shrinking or partial"
OF_KL = (
    f"without a verdict: KL under {COLLAPSED} nat a set at the end (information is at most the "
    f"KL), partial under {PARTIAL} nat, shrinking under {100 * SHRUNK:.0f} % of its peak"
)
NO_VERDICT = "the log ends before a verdict of the monitor"
_STATES: dict[str, State] = {WARMING: "unknown", "healthy": "clear"}


def collapse(run: Curves) -> Diagnosis:
    """The verdict where the monitor gave one; else what the KL tells."""
    verdicts = standing(run.events)
    said = of_verdicts(run, verdicts) if verdicts else None
    if said is not None and said.state != "unknown":
        return said
    found = of_kl(run)
    if said is not None:
        return Diagnosis(NAME, found.state, f"{said.finding}; {found.finding}", OF_KL, found.mend)
    if not has_levels(run):
        return found
    return Diagnosis(NAME, found.state, f"{NO_VERDICT}; {found.finding}", OF_KL, found.mend)


def of_verdicts(run: Curves, verdicts: Sequence[Verdict]) -> Diagnosis:
    """What the monitor said last of every level, those in trouble first."""
    verdicts = sorted(verdicts, key=lambda verdict: _STATES.get(verdict.state, "") != "")
    states = {_STATES.get(verdict.state, "found") for verdict in verdicts}
    state: State = "found" if "found" in states else "unknown" if "unknown" in states else "clear"
    finding = "; ".join(verdict.words for verdict in verdicts)
    if WARMING in (verdict.state for verdict in verdicts):
        finding = f"{NO_VERDICT}, at step {count(run.steps)}: {finding}"
    mend = "; ".join(dict.fromkeys(verdict.mend for verdict in verdicts if verdict.mend))
    return Diagnosis(NAME, state, finding, OF_VERDICTS, mend)


def of_kl(run: Curves) -> Diagnosis:
    """What the latents tell of a set is at most its KL, so a KL of nothing is a collapse.

    A large KL shows no health: a posterior may be shifted by a constant, or be ignored by the
    decoder.
    """
    kl = run.get(*VAL_KL) or run.get(*KL)
    if kl is None:
        return _unknown("the log holds no KL that can be told")
    if floor_hides(run, kl):
        return _unknown(_hidden(run, kl))
    if _beta_is_rising(run):
        return _unknown("beta is still rising at the end of the log")
    train = run.get(*KL)
    end = float(kl.values[-1]) if run.get(*VAL_KL) else average_of_last(kl)
    peak = float(max(one.values.max() for one in (kl, train) if one is not None))
    shown = f"KL ends at {significant(end)} nats a set"
    mend = "lower --max-beta, a longer --beta-warmup, or --free-bits"
    if end < COLLAPSED:
        return Diagnosis(NAME, "found", f"{shown}: the latents tell nothing", OF_KL, mend)
    if end < PARTIAL:
        return Diagnosis(NAME, "found", f"{shown}: partial, they tell little", OF_KL, mend)
    if end < SHRUNK * peak:
        fell = f"{shown}, down from {significant(peak)} at step {_peak_step(kl, train)}"
        return Diagnosis(NAME, "found", f"{fell}: shrinking", OF_KL, mend)
    return _unknown(f"{shown}, and a KL shows no health: only the monitor sees whether it is used")


def _unknown(finding: str) -> Diagnosis:
    return Diagnosis(NAME, "unknown", finding, OF_KL)


def _hidden(run: Curves, kl: Series) -> str:
    floor = f" of free bits ({significant(run.floor)} nats)" if run.floor else ""
    end = significant(float(kl.values[-1]))
    return f"KL lies on its floor{floor} with {end} nats: what is under it, the log does not show"


def _beta_is_rising(run: Curves) -> bool:
    beta = run.get("train_beta_step", "train_beta_epoch", "val_beta")
    if beta is None or len(beta) < LEAST_BETAS:
        return False
    late = beta.values[-max(2, len(beta) // 20) :]
    return bool((np.diff(late) > 0).all())


def _peak_step(*series: Series | None) -> str:
    peaks = [(one.values.max(), one.steps[one.values.argmax()]) for one in series if one]
    return count(max(peaks)[1])
