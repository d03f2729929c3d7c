"""What `--on-collapse` asks for when a level has collapsed, as data: nothing is done here.

Kinds:

    warn         nothing is changed
    checkpoint   keep the run as it is now
    stop         end the run after this step
    lower-beta   half the largest weight of the KL term
    free-bits    leave 0.25 nat a dimension free, or twice of what is free already
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from setvae_cli.monitor.rules import CHECKS_IN_A_ROW
from setvae_cli.monitor.verdict import Verdict
from setvae_cli.settings.monitor import OnCollapse
from setvae_cli.settings.objective import ObjectiveSettings

BETA_FACTOR = 0.5
FIRST_FREE_BITS, MOST_FREE_BITS = 0.25, 2.0
PATIENCE = 3 * CHECKS_IN_A_ROW


@dataclass(frozen=True)
class Action:
    """What is asked for.

    Attributes:
        kind: As `--on-collapse` names it.
        step: Step of the verdict.
        levels: Collapsed levels.
        changes: New values of objective settings, by name; empty where none changes.
        words: One clause for a person.
    """

    kind: OnCollapse
    step: int
    levels: tuple[int, ...]
    changes: Mapping[str, float]
    words: str


class Actions:
    """Asks once when a level collapses, and again where it still is 9 checks later.

    Only what changes the objective is asked for again.

    Args:
        kind: What to ask for.
    """

    def __init__(self, kind: OnCollapse) -> None:
        self.kind = kind
        self.taken: list[dict[str, Any]] = []
        self._waited = 0

    def ask(self, verdicts: Sequence[Verdict], objective: ObjectiveSettings) -> Action | None:
        """What the verdicts of a check call for.

        Args:
            verdicts: Of all levels.
            objective: As it is now, earlier actions included.
        """
        levels = tuple(verdict.level for verdict in verdicts if verdict.state == "collapsed")
        fresh = any(verdict.changed for verdict in verdicts if verdict.state == "collapsed")
        self._waited = 0 if fresh or not levels else self._waited + 1
        again = self._waited >= PATIENCE and self.kind in ("lower-beta", "free-bits")
        if not fresh and not again:
            return None
        self._waited = 0
        changes = changes_of(self.kind, objective)
        action = Action(
            self.kind, verdicts[0].step, levels, changes, _words(self.kind, changes, objective)
        )
        self.taken.append({**asdict(action), "levels": list(levels)})
        return action

    @property
    def stops(self) -> bool:
        """Whether the run was asked to end, and nothing else is asked for since."""
        return self.kind == "stop" and any(each["kind"] == "stop" for each in self.taken)

    def forget(self, name: str) -> None:
        """Undo what was done to a setting: it was given anew."""
        for action in self.taken:
            action["changes"] = {n: v for n, v in action["changes"].items() if n != name}

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"taken": [dict(action) for action in self.taken], "waited": self._waited}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], kind: OnCollapse) -> Actions:
        """What `state` described; what to ask for is what it is set to now."""
        actions = cls(kind)
        actions.taken, actions._waited = [dict(each) for each in state["taken"]], state["waited"]
        return actions

    def objective(self, settings: ObjectiveSettings) -> ObjectiveSettings:
        """Settings with the changes of all actions so far, as a resumed run needs them."""
        changes = {name: value for each in self.taken for name, value in each["changes"].items()}
        return settings.model_copy(update=changes)


def changes_of(kind: OnCollapse, objective: ObjectiveSettings) -> dict[str, float]:
    """New values of settings; empty where the action changes none."""
    if kind == "lower-beta":
        return {"max_beta": objective.max_beta * BETA_FACTOR}
    if kind == "free-bits":
        wanted = max(FIRST_FREE_BITS, 2 * objective.free_bits)
        return {"free_bits": max(objective.free_bits, min(wanted, MOST_FREE_BITS))}
    return {}


def _words(kind: OnCollapse, changes: Mapping[str, float], objective: ObjectiveSettings) -> str:
    if kind == "checkpoint":
        return "A checkpoint was asked for (--on-collapse checkpoint)."
    if kind == "stop":
        return "The run ends here (--on-collapse stop)."
    if not changes:
        return "Nothing was changed (--on-collapse warn)."
    said = [f"{name} {getattr(objective, name):g} -> {value:g}" for name, value in changes.items()]
    return f"Changed: {', '.join(said)} (--on-collapse {kind})."
