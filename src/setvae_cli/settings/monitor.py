"""How closely the posterior is watched, and what is done when it collapses."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from setvae_cli.settings.base import Settings

CHECKS_A_RUN = 50
PICTURES_EVERY = 10  # checks

OnCollapse = Literal["warn", "checkpoint", "stop", "lower-beta", "free-bits"]


class MonitorSettings(Settings):
    """The watch over posterior collapse."""

    disable_metrics_monitoring: bool = Field(
        False, description="Do not watch the posterior: no verdicts, no pictures, no cost."
    )
    on_collapse: OnCollapse = Field(
        "warn",
        description="When validation finds a level collapsed: warn only, keep a checkpoint, stop "
        "the run, halve --max-beta, or raise --free-bits.",
    )
    fast_detection: bool = Field(
        False, description="Look at training batches every 100 steps, pictures every 1000."
    )
    monitor_every: int | None = Field(
        None,
        ge=1,
        description="Steps between looks at training batches, beside every validation; default: "
        "200, in runs under 10 000 steps a fiftieth of them.",
    )
    plot_every: int | None = Field(
        None, ge=1, description="Steps between pictures; default: those of ten looks."
    )
    monitor_window: int = Field(
        50, ge=2, description="Looks over which active units may not fall by 20 %."
    )

    def looks_every(self, planned: int) -> int:
        """Steps between looks at training batches, in a run of so many steps.

        >>> MonitorSettings().looks_every(50_000), MonitorSettings().looks_every(2_000)
        (200, 40)
        """
        if self.monitor_every is not None:
            return self.monitor_every
        return max(1, min(100 if self.fast_detection else 200, math.ceil(planned / CHECKS_A_RUN)))

    def pictures_every(self, planned: int) -> int:
        """Steps between pictures, in a run of so many steps."""
        return self.plot_every or PICTURES_EVERY * self.looks_every(planned)
