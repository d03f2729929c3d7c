"""time_series.png: what was observed of chosen subjects, and what the decoder makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from setvae_cli.evaluation.latents import CodeSeries, Latents, SubjectSeries
from setvae_cli.reports import figures
from setvae_cli.reports.figures import PENS, Key, Pen
from setvae_cli.reports.latents.describe import footer
from setvae_cli.reports.latents.picture import Paint, Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (3.9, 2.5)
OBSERVED = Pen("#000000", "", "o")
PREDICTED = PENS[1]
_KEYS = (
    Key("observed", OBSERVED, True),
    Key("reconstruction, band: 95 % of the decoder's density", PREDICTED),
)


def draw_series(latents: Latents) -> Picture:
    """A panel for each code of each chosen subject; subjects by row number."""
    title = "Time series of chosen subjects"
    paints: list[Paint] = [
        _panel(subject, one) for subject in latents.series for one in subject.series
    ] or [_no_series(latents)]
    foot = footer(latents, "row: number in rows.parquet")
    wide, narrow = (render(paints, columns, title, foot, _KEYS, _SIZE) for columns in (3, 1))
    told = f"{title}: observed values and their reconstruction with a 95 % band."
    return Picture("time_series", title, told, wide, narrow)


def _no_series(latents: Latents) -> Paint:
    asked = latents.shows_values
    why = "no numeric code is predicted" if asked else "--show-values draws values of subjects"
    return lambda axes: figures.absent(axes, "No series", why)


def _panel(subject: SubjectSeries, series: CodeSeries) -> Paint:
    def paint(axes: Axes) -> None:
        x, pen = series.hours, PREDICTED
        axes.fill_between(x, series.low, series.high, color=pen.colour, alpha=0.25, linewidth=0)
        axes.plot(x, series.predicted, color=pen.colour, linestyle=pen.dash)
        axes.plot(x, series.observed, OBSERVED.mark, color=OBSERVED.colour, markersize=3)
        label = f", label {subject.label}" if subject.label >= 0 else ""
        axes.set_title(f"Row {subject.row}{label}: {series.code}", fontsize=9, parse_math=False)
        axes.locator_params(nbins=4)
        axes.set_xlabel("hours since the first set")
        axes.set_ylabel("unit of the source")
        if np.nanmax(x, initial=0) <= 0:
            axes.set_xlim(-0.5, 0.5)

    return paint
