"""posterior_metrics/: what looks at the posteriors found, as JSON for other programs.

metrics_latest.json     the last look of each split, every latent dimension
metrics_history.json    scalars of all looks, oldest first; of very many every second one is kept
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from setvae_cli.files import atomic_write, make_folder
from setvae_cli.monitor.measures import Measures
from setvae_cli.monitor.record import Split, scalars
from setvae_cli.monitor.verdict import Verdict

MOST_LOOKS = 2000
HISTORY, LATEST = "metrics_history.json", "metrics_latest.json"


class LookFiles:
    """Keeps both files.

    Args:
        folder: Where they lie; made with the first of them.
        upto: Of a run that goes on, the step that it goes on from; None: nothing is there yet.
    """

    def __init__(self, folder: Path, upto: int | None = None) -> None:
        self._folder = folder
        found = {} if upto is None else _read(folder / HISTORY)
        self._looks = [look for look in found.get("looks", []) if look["step"] <= (upto or 0)]
        self._latest: dict[str, Any] = {}

    def add(
        self, step: int, epoch: int, split: Split, measures: Measures, verdicts: Sequence[Verdict]
    ) -> None:
        """Remember a look; `write` puts it on the disk."""
        where = {"step": step, "epoch": epoch, "split": split}
        states = {str(verdict.level): verdict.state for verdict in verdicts}
        self._looks.append({**where, "states": states, **scalars(measures, split)})
        if len(self._looks) > MOST_LOOKS:
            self._looks = [*self._looks[:-1:2], self._looks[-1]]
        said = [asdict(verdict) for verdict in verdicts]
        self._latest[split] = {**where, "verdicts": said, "measures": asdict(measures)}

    def write(self) -> None:
        """Write both files anew, each whole or not at all.

        Raises:
            RunError: The disk refuses.
        """
        make_folder(self._folder)
        _write(self._folder / HISTORY, {"format": 1, "looks": self._looks})
        _write(self._folder / LATEST, {"format": 1, **self._latest})


def _read(path: Path) -> dict[str, Any]:
    """What an earlier part of the run wrote; empty where it cannot be read: the log has it too."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict) and all("step" in look for look in found.get("looks", [])):
            return found
    return {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    atomic_write(path, json.dumps(content, allow_nan=False, separators=(",", ":")).encode())
