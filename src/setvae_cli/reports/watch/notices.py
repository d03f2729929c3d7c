"""What a log tells beside its figures: verdicts, actions, absent metrics, skipped steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TROUBLE = frozenset({"collapsed", "shrinking", "partial"})
_ABSENT = "_absent"


@dataclass
class Notice:
    """Something to know, once or again and again.

    Attributes:
        step, last_step: Where it was first and last so.
        times: How often.
        what: What it is, in a few words.
        told: What is known about it.
        try_next: What to try; may be empty.
        bad: Whether it is a trouble, and not the end of one.
    """

    step: int
    last_step: int
    times: int
    what: str
    told: str
    try_next: str = ""
    bad: bool = True


class Notices:
    """Takes events in their order; what is told again keeps its place.

    Attributes:
        verdicts: The newest verdict event of a split and a level.
        stopped_at: Step at which training was ended for a collapse; None where it was not.
    """

    def __init__(self) -> None:
        self.verdicts: dict[tuple[str, int], Mapping[str, Any]] = {}
        self.stopped_at: int | None = None
        self._told: dict[tuple[str, str], Notice] = {}
        self._troubled: set[tuple[str, int]] = set()

    @property
    def all(self) -> tuple[Notice, ...]:
        """In the order in which they came first."""
        return tuple(self._told.values())

    def take_verdict(self, record: Mapping[str, Any], step: int) -> None:
        """A verdict that changed, or was confirmed by a resumed run."""
        level, state = record.get("level"), str(record.get("state", ""))
        split = str(record.get("split", "val"))
        if not isinstance(level, int):
            return
        key = split, level
        self.verdicts[key] = record
        window = "" if split == "val" else " in the training window"
        what = f"level {level} {state}{window}"
        if state in TROUBLE:
            self._troubled.add(key)
            rule = record.get("rule")
            told = f"since step {record.get('since')}" + (f": {rule}" if rule else "")
            self._tell(step, what, told, str(record.get("try", "")))
        elif state == "healthy" and key in self._troubled:
            self._troubled.discard(key)
            self._tell(step, what, "again", bad=False)
        for note in filter(None, str(record.get("notes", "")).split("; ")):
            name, _, rest = note.partition(" since ")
            self._renew(step, f"level {level} {name}{window}", f"since step {rest}", bad=False)

    def take_action(self, record: Mapping[str, Any], step: int) -> None:
        """Something was done about a collapse."""
        if record.get("kind") == "stop":
            self.stopped_at = step
        self._tell(step, "action", str(record.get("words", record.get("kind", ""))))

    def take_absent(self, record: Mapping[str, Any], step: int) -> None:
        """Metrics that could not be computed, with the reason."""
        for tag, why in record.items():
            if tag.endswith(_ABSENT):
                self._tell(step, f"{tag.removesuffix(_ABSENT)} is absent", str(why))

    def take_skipped(self, count: float, step: int) -> None:
        """Steps were skipped, so many until now."""
        self._renew(step, "steps skipped", f"{count:g} whose loss or gradient was not finite")

    def _tell(
        self, step: int, what: str, told: str, try_next: str = "", *, bad: bool = True
    ) -> None:
        one = self._told.get((what, told))
        if one is None:
            self._told[what, told] = Notice(step, step, 1, what, told, try_next, bad)
        else:
            one.last_step, one.times = step, one.times + 1

    def _renew(self, step: int, what: str, told: str, *, bad: bool = True) -> None:
        """Tell with the newest words what was told before with others."""
        one = self._told.setdefault((what, ""), Notice(step, step, 1, what, told, bad=bad))
        one.last_step, one.told = step, told
