"""Lightning's door to the disk, led through our own atomic and safe checkpoint files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_fabric.plugins import CheckpointIO

from setvae_cli.files import remove
from setvae_cli.runs import checkpoint as files


class SafeCheckpointIO(CheckpointIO):
    """Saves atomically, tensors and plain values only; reads without running code.

    Args:
        resumed: What a run goes on with, already read and placed; else files are read.
    """

    def __init__(self, resumed: dict[str, Any] | None = None) -> None:
        self._resumed = resumed

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write what the trainer collected."""
        files.save(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read it back, always with weights only; what was given is given on once."""
        resumed, self._resumed = self._resumed, None
        return resumed or dict(files.read(Path(path)).payload)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file."""
        remove(Path(path))
