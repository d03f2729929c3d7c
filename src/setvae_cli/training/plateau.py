"""A learning rate that falls where validations get no better."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

LEAST = 1e-4  # relative change that counts as better, as torch's ReduceLROnPlateau has it


@dataclass
class Plateau:
    """What the rate is multiplied by, after the validations so far.

    Attributes:
        patience: Validations without a better one that it waits for.
        fall: What the factor is multiplied by then.
        factor: Of the rate now.
        best: The best value so far; None before the first.
        waited: Validations since.
    """

    patience: int
    fall: float
    factor: float = 1.0
    best: float | None = None
    waited: int = 0

    def observe(self, value: float, *, higher_is_better: bool) -> None:
        """Take note of a validation."""
        value = value if higher_is_better else -value
        if self.best is None or value > self.best + LEAST * abs(self.best):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.factor, self.waited = self.factor * self.fall, 0

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` described; patience and fall stay as they are set now."""
        self.factor, self.best = state["factor"], state["best"]
        self.waited = state["waited"]
