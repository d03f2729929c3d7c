"""Where a run stands: the next micro-batch, as checkpoints say it and as the trainer counts it.

A run is only ever saved between two optimizer steps. What the trainer has counted by then depends
on the hook it is in, so its counters are written anew from the position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STAGES = ("ready", "started", "processed", "completed")


@dataclass(frozen=True)
class Position:
    """The micro-batch that comes next.

    Attributes:
        epoch: Its epoch, from 0.
        batch: Its number in the epoch.
    """

    epoch: int
    batch: int

    @staticmethod
    def after(epoch: int, batches_done: int, batches: int) -> Position:
        """The position behind so many micro-batches of an epoch; behind its last the next epoch.

        >>> Position.after(2, 7, 8), Position.after(2, 8, 8)
        (Position(epoch=2, batch=7), Position(epoch=3, batch=0))
        """
        return Position(epoch + 1, 0) if batches_done >= batches else Position(epoch, batches_done)

    @property
    def epochs_begun(self) -> int:
        """Epochs of which at least one step is done; that of the last step, counted from 1."""
        return self.epoch + (self.batch > 0)

    def loader_state(self) -> dict[str, int]:
        """What `EpochLoader.load_state_dict` takes."""
        return {"epoch": self.epoch, "position": self.batch}


def counted(loops: Mapping[str, Any], position: Position) -> dict[str, Any]:
    """The trainer's state of its loops, with counters that a run at a position has.

    Args:
        loops: As the trainer saved them.
        position: The micro-batch that comes next.
    """
    fit = dict(loops["fit_loop"])
    inside = position.batch > 0
    begun, done = position.epoch + inside, position.epoch
    epochs = dict(zip(_STAGES, (begun, begun, done, done), strict=True))
    fit["epoch_progress"] = {"total": epochs, "current": dict(epochs)}
    batches = dict.fromkeys(_STAGES, position.batch)
    fit["epoch_loop.batch_progress"] = {
        "total": dict(batches),
        "current": batches,
        "is_last_batch": False,
    }
    # The loader is told directly where to go on, also when its batches are cut anew.
    fit["state_dict"] = {}
    return {**loops, "fit_loop": fit}
