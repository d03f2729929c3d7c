"""Writes all files of a curve analysis into one folder, each whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from setvae_cli.files import atomic_write, make_folder
from setvae_cli.reports.curves.draw import draw
from setvae_cli.reports.curves.latents import PICTURE
from setvae_cli.reports.curves.page import as_page
from setvae_cli.reports.curves.table import write_table
from setvae_cli.reports.curves.text import Judged, as_text

TEXT, TABLE, PAGE = "collapse_analysis.txt", "curves.parquet", "report.html"


def write(folder: Path, runs: Sequence[Judged]) -> tuple[Path, ...]:
    """Draw and write the analysis of one run, or of several in the same figures.

    Files of an earlier analysis are replaced, and its picture of latents is removed where there is
    none now.

    Returns:
        What was written.

    Raises:
        InputError: The folder cannot be made.
        RunError: The disk is full, or refuses the write.
    """
    make_folder(folder)
    curves = [judged.run for judged in runs]
    pictures = draw(curves)
    written = []
    for picture in pictures:
        written.append(folder / f"{picture.name}.png")
        atomic_write(written[-1], picture.wide)
    if PICTURE[0] not in (picture.name for picture in pictures):
        (folder / f"{PICTURE[0]}.png").unlink(missing_ok=True)
    atomic_write(folder / TEXT, as_text(runs))
    write_table(folder / TABLE, curves)
    atomic_write(folder / PAGE, as_page(runs, pictures))
    return (*written, folder / TEXT, folder / TABLE, folder / PAGE)
