"""Which validation was best, and when waiting for a better one ends."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Selection:
    """The best validation so far.

    One measure decides, the loss where it is absent; a validation with it is better than any
    without.

    Attributes:
        patience: Validations without a better one until `exhausted`; 0: never.
        measure: `auc`, `acc` or `loss`; None before the first validation.
        best: Its value.
        waited: Validations since the best.
    """

    patience: int
    measure: str | None = None
    best: float = 0.0
    waited: int = 0

    def observe(self, measure: str, value: float) -> bool:
        """Take note of a validation.

        Args:
            measure: `auc` or `acc` (higher is better), or `loss` (lower is better).
            value: Compared to four decimals, which is what names of checkpoints keep.

        Returns:
            Whether it is the best so far.
        """
        value = round(value, 4)
        if self.measure == measure:
            better = value < self.best if measure == "loss" else value > self.best
        else:
            better = self.measure is None or measure != "loss"
        self.waited = 0 if better else self.waited + 1
        if better:
            self.measure, self.best = measure, value
        return better

    @property
    def exhausted(self) -> bool:
        """Whether patience ran out."""
        return 0 < self.patience <= self.waited

    def reason(self) -> str:
        """Why it stopped, one clause."""
        count = f"{self.patience} validation{'s' if self.patience > 1 else ''}"
        return f"no better val_{self.measure} than {self.best:.4f} for {count}"

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Selection:
        """The selection that `state` described."""
        return cls(**state)
