"""Writes all files of a look at latents into one folder, each whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from setvae_cli.errors import InputError
from setvae_cli.evaluation.latents import Latents
from setvae_cli.files import atomic_write, make_folder
from setvae_cli.reports.latents.describe import footer, verdicts
from setvae_cli.reports.latents.draw_correlation import draw_correlation
from setvae_cli.reports.latents.draw_errors import draw_errors
from setvae_cli.reports.latents.draw_map import draw_map
from setvae_cli.reports.latents.draw_series import draw_series
from setvae_cli.reports.latents.page import as_page
from setvae_cli.reports.latents.picture import Picture
from setvae_cli.reports.latents.points import points
from setvae_cli.reports.latents.projection import Map, Method, make_maps
from setvae_cli.reports.latents.sample import choose
from setvae_cli.reports.latents.table import write_table
from setvae_cli.reports.posterior import posterior_figure

TABLE, PAGE = "latents.parquet", "report.html"


def write(
    folder: Path,
    latents: Latents,
    *,
    method: Method,
    seed: int,
    show_ids: Mapping[int, str] | None,
    progress: Callable[[str], None],
) -> tuple[Path, ...]:
    """Draw and write a look at latents.

    Everything is drawn before the first file is written. Files of an earlier look are replaced.

    Args:
        folder: Where files go; made if need be.
        latents: What was found.
        method: Of the maps.
        seed: Of the choice of sets and of the maps.
        show_ids: Subject of each row, for the table; None: row numbers only.
        progress: Is told what is being made.

    Returns:
        What was written, the page last.

    Raises:
        InputError: The folder cannot be made, or there are no sets.
        RunError: The disk is full or refuses the write; the library of the method is missing.
    """
    if len(latents.sets.row) == 0:
        raise InputError("no sets to draw", where=latents.split, mend="take another split")
    make_folder(folder)
    chosen = choose(latents.sets, seed)
    maps = make_maps(latents, chosen, method, seed, progress)
    progress("drawing")
    pictures = tuple(_pictures(latents, maps))
    page = as_page(latents, pictures, points(latents, maps, chosen))
    for picture in pictures:
        atomic_write(folder / f"{picture.name}.png", picture.wide)
    write_table(folder / TABLE, latents, maps[0], show_ids)
    atomic_write(folder / PAGE, page)
    drawn = (folder / f"{picture.name}.png" for picture in pictures)
    return (*drawn, folder / TABLE, folder / PAGE)


def _pictures(latents: Latents, maps: Sequence[Map]) -> Iterator[Picture]:
    yield _posterior(latents)
    yield draw_map(latents, maps)
    yield draw_errors(latents)
    yield draw_correlation(latents)
    yield draw_series(latents)


def _posterior(latents: Latents) -> Picture:
    title, said = "Posterior of each level", verdicts(latents)
    wide, narrow = (
        posterior_figure(
            latents.measures, title=title, footer=footer(latents), verdicts=said, columns=columns
        )
        for columns in (2, 1)
    )
    told = f"{title}: KL, active units, variances, and what is counted in nats."
    return Picture("posterior_collapse_analysis", title, told, wide, narrow)
