"""Writes all files of an evaluation into one folder, each whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from setvae_cli.evaluation.findings import Findings
from setvae_cli.evaluation.prediction_table import write_predictions
from setvae_cli.files import atomic_write, make_folder
from setvae_cli.reports.evaluation import draw_groups
from setvae_cli.reports.evaluation.draw_curves import draw_curves
from setvae_cli.reports.evaluation.draw_groups import draw_groups as groups_drawn
from setvae_cli.reports.evaluation.draw_reliability import draw_reliability
from setvae_cli.reports.evaluation.page import as_page
from setvae_cli.reports.evaluation.plain import as_plain
from setvae_cli.reports.latents.picture import Picture

TABLE, METRICS, PAGE = "predictions.parquet", "metrics.json", "report.html"


def write(
    folder: Path, findings: Findings, predictions: pa.Table, *, progress: Callable[[str], None]
) -> tuple[Path, ...]:
    """Draw and write an evaluation.

    Everything is drawn before the first file is written. Files of an earlier evaluation are
    replaced, and pictures that there are none of now are removed.

    Args:
        folder: Where files go; made if need be.
        findings: What was found.
        predictions: A line a subject, as `prediction_table.as_table` made it.
        progress: Is told what is being made.

    Returns:
        What was written, the page last.

    Raises:
        InputError: The folder cannot be made.
        RunError: The disk is full, or refuses the write.
    """
    make_folder(folder)
    progress("drawing")
    pictures = tuple(_pictures(findings))
    page = as_page(findings, pictures)
    for picture in pictures:
        atomic_write(folder / f"{picture.name}.png", picture.wide)
    drawn = [picture.name for picture in pictures]
    if draw_groups.NAME not in drawn:
        (folder / f"{draw_groups.NAME}.png").unlink(missing_ok=True)
    names = {task.task: task.names for task in findings.tasks if task.names}
    write_predictions(folder / TABLE, predictions, findings.source, names)
    plain = json.dumps(as_plain(findings), indent=2, allow_nan=False)
    atomic_write(folder / METRICS, plain + "\n")
    atomic_write(folder / PAGE, page)
    files = (*(f"{name}.png" for name in drawn), TABLE, METRICS, PAGE)
    return tuple(folder / name for name in files)


def _pictures(findings: Findings) -> Iterator[Picture]:
    yield draw_curves(findings)
    yield draw_reliability(findings)
    groups = groups_drawn(findings)
    if groups is not None:
        yield groups
