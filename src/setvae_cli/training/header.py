"""What the checkpoints of a run say about themselves."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from setvae_cli.runs.checkpoint import Header
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.tasks import Tasks


def build_header(
    settings: TrainSettings, store: Store, tasks: Tasks, *, planned_steps: int
) -> Header:
    """Everything that rebuilds the model, and its place in its run; no path, no identity."""
    return Header(
        setvae_version=_version(),
        settings=settings_without_paths(settings),
        vocabulary=store.vocabulary.to_plain(),
        data_digest=store.digest,
        tasks=tasks.names,
        classes=tasks.classes,
        set_size_p99=store.shape.set_size_p99,
        time_scale=store.shape.time_scale,
        sets_per_subject=max(store.shape.sets_per_subject, 1.0),
        planned_steps=planned_steps,
        measured={},
    )


def settings_without_paths(settings: TrainSettings) -> dict[str, Any]:
    """Flat settings that may travel: where a person keeps data is nobody's business."""
    kept = {
        name
        for name, field in settings.fields().items()
        if field.type is not Path and name != "data"
    }
    return {name: value for name, value in settings.to_flat().items() if name in kept}


def _version() -> str:
    try:
        return version("setvae-cli")
    except PackageNotFoundError:
        return "unknown"
