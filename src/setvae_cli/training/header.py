"""What the checkpoints of a run say about themselves."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from setvae_cli.data.portion import Portion
from setvae_cli.runs.checkpoint import Header
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.tasks import Tasks

STARTING = ("resume", "resume_from_checkpoint")
_PLACES = ("data", "ckpt", "checkpoint")  # paths that are texts


def build_header(
    settings: TrainSettings,
    store: Store,
    portion: Portion,
    tasks: Tasks,
    *,
    planned_steps: int,
    first_planned_steps: int | None = None,
) -> Header:
    """Everything that rebuilds the model, and its place in its run; no path, no identity.

    Args:
        settings: Of the command.
        store: What it trains on.
        portion: What it sees of it: codes that the model knows, and sizes.
        tasks: What it predicts.
        planned_steps: Optimizer steps that schedules end with.
        first_planned_steps: Of a resumed run, those that were planned when it began.
    """
    names = store.manifest.class_names
    return Header(
        setvae_version=_version(),
        settings=settings_without_paths(settings),
        vocabulary=portion.vocabulary.to_plain(),
        data_digest=store.digest,
        tasks=tasks.names,
        classes=tasks.classes,
        class_names={task: names[task] for task in tasks.names if task in names},
        set_size_p99=portion.shape.set_size_p99,
        time_scale=portion.shape.time_scale,
        sets_per_subject=max(portion.shape.sets_per_subject, 1.0),
        planned_steps=planned_steps,
        first_planned_steps=first_planned_steps or planned_steps,
        measured={},
        command=command_of(settings),
    )


def command_of(settings: TrainSettings) -> str:
    """The command whose settings a checkpoint holds; a resume only goes on with them."""
    return "finetune" if isinstance(settings, FinetuneSettings) else "train"


def settings_without_paths(settings: TrainSettings) -> dict[str, Any]:
    """Flat settings that may travel: where a person keeps data is nobody's business."""
    kept = {
        name
        for name, field in settings.fields().items()
        if field.type is not Path and name not in (*_PLACES, *STARTING)
    }
    return {name: value for name, value in settings.to_flat().items() if name in kept}


def lasting_settings(settings: TrainSettings) -> dict[str, Any]:
    """Flat settings of a run, without how it was started."""
    return {name: value for name, value in settings.to_flat().items() if name not in STARTING}


def _version() -> str:
    try:
        return version("setvae-cli")
    except PackageNotFoundError:
        return "unknown"
