"""What the first process of a run tells the others, so that all of them train the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setvae_cli.runs.model import COMMANDS
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.header import command_of
from setvae_cli.training.resumption import Resumption, prepare


def invitation(
    settings: TrainSettings, store: Store, resumption: Resumption | None
) -> dict[str, Any]:
    """Plain values: settings, the prepared data, the checkpoint to go on from."""
    return {
        "command": command_of(settings),
        "settings": settings.to_flat(),
        "store": os.path.abspath(store.path),
        "checkpoint": os.path.abspath(resumption.path) if resumption else None,
    }


def accepted(told: Mapping[str, Any]) -> tuple[TrainSettings, Store, Resumption | None]:
    """What `invitation` was made of, in another process."""
    store = Store.open(Path(told["store"]))
    if told["checkpoint"] is None:
        return COMMANDS[told["command"]].from_flat(told["settings"]), store, None
    resumption = prepare(Path(told["checkpoint"]), told["settings"])
    return resumption.settings, store, resumption
