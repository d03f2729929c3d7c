"""What to try about a posterior, with values that follow from the run's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from setvae_cli.settings.model import ModelSettings
    from setvae_cli.settings.objective import ObjectiveSettings

LONGEST_WARMUP = 0.8  # as a share of all steps
_OR = ", or "


def concrete(advice: str, objective: ObjectiveSettings, model: ModelSettings) -> str:
    """The same advice without what the run has already, and with numbers to start from.

    Args:
        advice: As `monitor/rules.py` words it: clauses between commas.
        objective: Of the run as it is now.
        model: Of the run.

    Returns:
        Clauses; empty where nothing is left.
    """
    said = (_clause(clause, objective, model) for clause in advice.split(_OR))
    return _OR.join(dict.fromkeys(clause for clause in said if clause))


def _clause(clause: str, objective: ObjectiveSettings, model: ModelSettings) -> str:
    beta, bits = objective.max_beta, objective.free_bits
    if clause == "lower --max-beta":
        return f"--max-beta {min(beta / 2, _usual_beta(objective)):g}" if beta else ""
    if clause.startswith("a higher --max-beta"):
        return clause.replace("a higher --max-beta", f"--max-beta {2 * beta:g}") if beta else clause
    if clause == "a longer --beta-warmup":
        return _longer_warm_up(objective)
    if clause.startswith("--free-bits "):
        return f"--free-bits {max(float(clause.split()[1]), 2 * bits):g}"
    if clause == f"--beta-schedule {objective.beta_schedule}":
        return ""
    return "" if clause.endswith("--bottleneck") and model.bottleneck else clause


def _usual_beta(objective: ObjectiveSettings) -> float:
    """The default; far above it, half of a weight is still far too much."""
    return float(type(objective).model_fields["max_beta"].default)


def _longer_warm_up(objective: ObjectiveSettings) -> str:
    """A share of all steps below 1, else steps; a constant beta has none yet."""
    if objective.beta_schedule == "constant":
        return "--beta-schedule linear"
    now = objective.beta_warmup
    longer = 2 * now if now >= 1 else min(2 * now or 0.2, LONGEST_WARMUP)
    return f"--beta-warmup {longer:g}" if longer > now else ""
