"""posterior_metrics/: what looks at the posteriors found, as JSON for other programs.

metrics_latest.json     the last look of each split, every latent dimension
metrics_history.json    scalars of all looks, oldest first; of very many every second one is kept

They are on the disk before any checkpoint that was saved behind these looks, so that a run that
goes on from one has all of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from setvae_cli.files import atomic_write, make_folder, remove
from setvae_cli.monitor.measures import Measures
from setvae_cli.monitor.record import Split, scalars
from setvae_cli.monitor.verdict import Verdict

MOST_LOOKS = 2000
HISTORY, LATEST = "metrics_history.json", "metrics_latest.json"
SPLITS: tuple[Split, ...] = ("val", "train")
_PICTURE = "posterior_metrics_step_"


class LookFiles:
    """Keeps both files.

    Args:
        folder: Where they lie; made with the first of them.
        upto: Of a run that goes on, the step that it goes on from: what is later in the folder is
            no part of it. None: nothing is there yet.
    """

    def __init__(self, folder: Path, upto: int | None = None) -> None:
        self._folder, self._unwritten = folder, False
        self._looks: list[dict[str, Any]] = []
        self._latest: dict[str, Any] = {}
        if upto is None:
            return
        found, latest = _read(folder / HISTORY).get("looks"), _read(folder / LATEST)
        looks = found if isinstance(found, list) else []
        self._looks = [look for look in looks if _is_look(look, upto)]
        self._latest = {
            split: latest[split] for split in SPLITS if _is_look(latest.get(split), upto)
        }
        _remove_later_pictures(folder, upto)

    def add(
        self, step: int, epoch: int, split: Split, measures: Measures, verdicts: Sequence[Verdict]
    ) -> None:
        """Remember a look; `write` puts it on the disk."""
        where = {"step": step, "epoch": epoch, "split": split}
        states = {str(verdict.level): verdict.state for verdict in verdicts}
        # A validation that was owed is run again behind a step whose first one was kept here.
        self._looks = [each for each in self._looks if _place(each) != (step, split)]
        self._looks.append({**where, "states": states, **scalars(measures, split)})
        if len(self._looks) > MOST_LOOKS:
            self._looks = _thinned(self._looks)
        said = [asdict(verdict) for verdict in verdicts]
        self._latest[split] = {**where, "verdicts": said, "measures": asdict(measures)}
        self._unwritten = True

    def write(self) -> None:
        """Write both files anew if there is news, each whole or not at all.

        Raises:
            RunError: The disk refuses.
        """
        if not self._unwritten:
            return
        make_folder(self._folder)
        _write(self._folder / HISTORY, {"format": 1, "looks": self._looks})
        _write(self._folder / LATEST, {"format": 1, **self._latest})
        self._unwritten = False


def picture_path(folder: Path, step: int) -> Path:
    """Where the picture of a step lies."""
    return folder / f"{_PICTURE}{step}.png"


def _remove_later_pictures(folder: Path, upto: int) -> None:
    """Pictures of steps that the run is yet to take; it draws them again where they are due."""
    for path in folder.glob(f"{_PICTURE}*.png"):
        step = path.stem.removeprefix(_PICTURE)
        if step.isdecimal() and int(step) > upto:
            remove(path)


def _thinned(looks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every second look of each split, and the last: splits may take turns."""
    kept, seen = [], dict.fromkeys(SPLITS, 0)
    for look in looks:
        split = look["split"]
        if seen[split] % 2 == 0 or look is looks[-1]:
            kept.append(look)
        seen[split] += 1
    return kept


def _place(look: Mapping[str, Any]) -> tuple[int, str]:
    return look["step"], look["split"]


def _is_look(found: Any, upto: int) -> bool:
    if not isinstance(found, dict) or found.get("split") not in SPLITS:
        return False
    step = found.get("step")
    return isinstance(step, int) and step <= upto


def _read(path: Path) -> dict[str, Any]:
    """What an earlier part of the run wrote; empty where it cannot be read: the log has it too."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    plain = json.dumps(_finite(content), allow_nan=False, separators=(",", ":"))
    atomic_write(path, plain.encode())


def _finite(value: Any) -> Any:
    """The same with null for numbers that are none: JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
