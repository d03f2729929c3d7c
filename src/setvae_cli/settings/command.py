"""The table of contents of the commands' settings; each stands in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from setvae_cli.settings.commands.analyze_curves import AnalyzeCurvesSettings
from setvae_cli.settings.commands.base import CommandSettings
from setvae_cli.settings.commands.benchmark_loader import BenchmarkLoaderSettings
from setvae_cli.settings.commands.doctor import DoctorSettings
from setvae_cli.settings.commands.embed import EmbedSettings
from setvae_cli.settings.commands.evaluate import EvaluateSettings
from setvae_cli.settings.commands.export import ExportSettings
from setvae_cli.settings.commands.finetune import FinetuneSettings
from setvae_cli.settings.commands.precompute import PrecomputeSettings
from setvae_cli.settings.commands.resume import ResumeSettings
from setvae_cli.settings.commands.train import TrainSettings
from setvae_cli.settings.commands.visualize import VisualizeSettings
from setvae_cli.settings.commands.watch import WatchSettings

__all__ = [
    "COMMANDS",
    "AnalyzeCurvesSettings",
    "BenchmarkLoaderSettings",
    "CommandSettings",
    "DoctorSettings",
    "EmbedSettings",
    "EvaluateSettings",
    "ExportSettings",
    "FinetuneSettings",
    "PrecomputeSettings",
    "ResumeSettings",
    "TrainSettings",
    "VisualizeSettings",
    "WatchSettings",
    "is_tuned",
    "settings_of_run",
]

COMMANDS: tuple[type[CommandSettings], ...] = (
    PrecomputeSettings,
    TrainSettings,
    FinetuneSettings,
    ResumeSettings,
    BenchmarkLoaderSettings,
    ExportSettings,
    DoctorSettings,
    AnalyzeCurvesSettings,
    VisualizeSettings,
    EmbedSettings,
    EvaluateSettings,
    WatchSettings,
)


def settings_of_run(flat: Mapping[str, Any]) -> TrainSettings:
    """The settings of a run, of whichever command wrote them.

    Args:
        flat: All of them, as `settings.yaml` has them.

    Raises:
        pydantic.ValidationError: A value or a name does not fit.
    """
    return (FinetuneSettings if is_tuned(flat) else TrainSettings).from_flat(flat)


def is_tuned(flat: Mapping[str, Any]) -> bool:
    """Whether the settings of a run are those of `setvae finetune`."""
    own = {name for name, field in FinetuneSettings.fields().items() if field.section == "tuning"}
    return not own.isdisjoint(flat)
