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
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from setvae_cli.monitor.rules import CHECKS_IN_A_ROW
from setvae_cli.monitor.verdict import Verdict
from setvae_cli.settings.monitor import OnCollapse
from setvae_cli.settings.objective import ObjectiveSettings

BETA_FACTOR = 0.5
FIRST_FREE_BITS, MOST_FREE_BITS = 0.25, 2.0
PATIENCE = 3 * CHECKS_IN_A_ROW
CHANGED = ("max_beta", "free_bits")


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

    Only what changes the objective is asked for again. Where a run goes on with another kind than
    it had, that is asked for at its first check, if a level is collapsed by then.

    Args:
        kind: What to ask for.

    Attributes:
        kind: What to ask for.
        taken: What was asked for so far.
        stops: Whether the run was asked to end, and nothing else is asked for since.
    """

    def __init__(self, kind: OnCollapse) -> None:
        self.kind = kind
        self.taken: list[Action] = []
        self.stops = False
        self._waited, self._other_kind = 0, False

    def ask(self, verdicts: Sequence[Verdict], objective: ObjectiveSettings) -> Action | None:
        """What the verdicts of a check call for.

        Args:
            verdicts: Of all levels.
            objective: As it is now, earlier actions included.
        """
        levels = tuple(verdict.level for verdict in verdicts if verdict.state == "collapsed")
        fresh = any(verdict.changed for verdict in verdicts if verdict.state == "collapsed")
        self._waited = 0 if fresh or not levels else self._waited + 1
        changes = changes_of(self.kind, objective)
        again = self._waited >= PATIENCE and bool(changes)
        fresh |= self._other_kind and bool(levels)
        self._other_kind = False
        if not fresh and not again:
            return None
        self._waited, self.stops = 0, self.kind == "stop"
        action = Action(
            self.kind, verdicts[0].step, levels, changes, _words(self.kind, changes, objective)
        )
        self.taken.append(action)
        return action

    def forget(self, name: str) -> None:
        """Undo what was done to a setting: it was given anew, and so the run may go on."""
        self.stops = False
        self.taken = [
            replace(each, changes={n: v for n, v in each.changes.items() if n != name})
            for each in self.taken
        ]

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {
            "taken": [{**asdict(each), "levels": list(each.levels)} for each in self.taken],
            "kind": self.kind,
            "stops": self.stops,
            "waited": self._waited,
            "other_kind": self._other_kind,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], kind: OnCollapse) -> Actions:
        """What `state` described; what to ask for is what it is set to now.

        Raises:
            ValueError: Nobody asks for such a thing.
        """
        actions = cls(kind)
        actions.taken = TypeAdapter(list[Action]).validate_python(state["taken"])
        if any(name not in CHANGED for each in actions.taken for name in each.changes):
            raise ValueError("an action changes what none changes")
        actions._waited, actions._other_kind = int(state["waited"]), bool(state["other_kind"])
        actions._other_kind |= kind != state["kind"]
        actions.stops = bool(state["stops"]) and kind == "stop"
        return actions

    def objective(self, settings: ObjectiveSettings) -> ObjectiveSettings:
        """Settings with the changes of all actions so far, as a resumed run needs them.

        Raises:
            ValueError: A change leaves the bounds of its setting.
        """
        changes = {name: value for each in self.taken for name, value in each.changes.items()}
        return ObjectiveSettings.model_validate({**settings.model_dump(), **changes})


def changes_of(kind: OnCollapse, objective: ObjectiveSettings) -> dict[str, float]:
    """New values of settings; empty where the action changes none."""
    if kind == "lower-beta" and objective.max_beta:
        return {"max_beta": objective.max_beta * BETA_FACTOR}
    if kind == "free-bits" and objective.free_bits < MOST_FREE_BITS:
        wanted = max(FIRST_FREE_BITS, 2 * objective.free_bits)
        return {"free_bits": min(wanted, MOST_FREE_BITS)}
    return {}


def _words(kind: OnCollapse, changes: Mapping[str, float], objective: ObjectiveSettings) -> str:
    if kind == "checkpoint":
        return "A checkpoint was asked for (--on-collapse checkpoint)."
    if kind == "stop":
        return "The run ends here (--on-collapse stop)."
    if not changes:
        most = "" if kind == "warn" else ", there is no more to change"
        return f"Nothing was changed{most} (--on-collapse {kind})."
    said = [f"{name} {getattr(objective, name):g} -> {value:g}" for name, value in changes.items()]
    return f"Changed: {', '.join(said)} (--on-collapse {kind})."
