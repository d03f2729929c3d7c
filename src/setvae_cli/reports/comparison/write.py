"""Writes the files of a comparison, each whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setvae_cli.evaluation.decision import Shares
from setvae_cli.files import atomic_write, make_folder
from setvae_cli.reports.comparison.draw_efficiency import draw_efficiency
from setvae_cli.reports.comparison.page import as_page

TABLE, PAGE = "comparison.json", "comparison.html"


def write(folder: Path, shares: Shares, plain: Mapping[str, Any]) -> tuple[Path, ...]:
    """Draw and write a comparison.

    Args:
        folder: Where files go.
        shares: What was found.
        plain: The same as plain values.

    Returns:
        What was written, the page last.

    Raises:
        RunError: The disk is full, or refuses the write.
    """
    picture = draw_efficiency(shares)
    page = as_page(shares, picture)
    make_folder(folder)
    written = [folder / TABLE, folder / PAGE]
    if picture:
        written.insert(0, folder / f"{picture.name}.png")
        atomic_write(written[0], picture.wide)
    atomic_write(folder / TABLE, json.dumps(plain, indent=2, allow_nan=False) + "\n")
    atomic_write(folder / PAGE, page)
    return tuple(written)
