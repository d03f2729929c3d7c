"""What `setvae analyze-curves` is told."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from setvae_cli.settings.commands.base import CommandSettings
from setvae_cli.settings.prepare import GROUP_READABLE


class AnalyzeCurvesSettings(CommandSettings):
    """`setvae analyze-curves`: the curves of runs, drawn and judged."""

    command: ClassVar[str] = "analyze-curves"

    log_dir: tuple[str, ...] = Field(
        (),
        description="Runs, folders of event files, or folders of such; default: the latest run.",
        json_schema_extra={"positional": True},
    )
    logs: str | None = Field(
        None,
        min_length=1,
        description="The same.",
        json_schema_extra={"hidden": True, "spellings": ["--log-dir"], "current": "LOG_DIR"},
    )
    save_dir: Path | None = Field(
        None, description="Folder of the files that are written; default: beside the log."
    )
    compare: bool = Field(False, description="Draw all runs in the same figures.")
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
    group_readable: bool = Field(False, description=GROUP_READABLE)
