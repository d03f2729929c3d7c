"""Small stores with known splits and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources.recognise import open_source
from setvae_cli.store.precompute import precompute
from setvae_cli.store.reader import Store

FIRST_ID = 987654321
SIZES = {"train": 21, "validation": 10, "test": 10}
CODES = ("HR", "SBP", "Temp")
Labels = Callable[[str, int], str]


def alternating(split: str, number: int) -> str:
    """Both classes in every split."""
    return str(number % 2)


def write_store(
    folder: Path,
    labels: Labels = alternating,
    *,
    codes: tuple[str, str, str] = CODES,
    sizes: Mapping[str, int] = SIZES,
) -> Store:
    """A store of short stays with three vital signs; class 1 has the higher heart rate.

    Args:
        folder: Where it goes.
        labels: The label of a subject by split and number in it; empty text for a missing one.
        codes: What heart rate, blood pressure and temperature are called.
        sizes: Subjects of each split.
    """
    generator = np.random.default_rng(0)
    lines, subject = ["subject_id,time,code,value,split,death"], FIRST_ID
    for split, size in sizes.items():
        for number in range(size):
            label = labels(split, number)
            for time in range(int(generator.integers(3, 7))):
                for code in codes[: int(generator.integers(1, 4))]:
                    value = generator.normal() + (2 if label == "1" and code == codes[0] else 0)
                    lines.append(f"{subject},{60 * time},{code},{value:.5f},{split},{label}")
            subject += 1
    table = folder / "events.csv"
    table.write_text("\n".join(lines) + "\n")
    with_labels = any(not line.endswith(",") for line in lines[1:])
    given = ("label:death=death",) if with_labels else ()
    source = open_source(table, SourceSettings(source="table", map=given))
    precompute(source, StoreSettings(), folder / "store", workers=1, sink=lambda record: None)
    return Store.open(folder / "store")
