"""What a process that only computes has in place of files: it takes part, and touches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from setvae_cli.runs.folder import Mark
from setvae_cli.runs.metrics_log import Value
from setvae_cli.training.keeper import Save
from setvae_cli.training.scalars import LogState

NOWHERE = Path("nowhere")


class SilentLog:
    """Stands for `ScalarLog`."""

    def write(
        self,
        step: int,
        epoch: int,
        scalars: Mapping[str, float],
        plan: Mapping[str, int] | None = None,
    ) -> None:
        """Rank 0 writes the same."""

    def note(self, step: int, epoch: int, record: Mapping[str, Value]) -> None:
        """Rank 0 writes the same."""

    def histogram(self, step: int, tag: str, values: Sequence[float]) -> None:
        """Rank 0 writes the same."""

    def state(self, step: int) -> LogState:
        """Nothing; rank 0's is saved."""
        return LogState(step, 0, 0.0)


class Attendant:
    """Stands for `Keeper`: to save is to exchange, and every rank has to be there.

    Args:
        save: Exchanges; where it would write is of no interest.
    """

    def __init__(self, save: Save) -> None:
        self._attend = save

    def save_validated(self, *, epoch: int, step: int, measure: str, value: float) -> None:
        """Attend."""
        self._attend(NOWHERE)

    def save_last(self) -> None:
        """Attend."""
        self._attend(NOWHERE)

    def save_final(self, step: int) -> None:
        """A name for a file that is there needs nobody else."""

    def name_collapsed(self, step: int) -> str:
        """A name for a file that is there needs nobody else."""
        return ""

    def save_stopped(self, kind: Mark, step: int) -> Path:
        """Attend."""
        self._attend(NOWHERE)
        return NOWHERE
