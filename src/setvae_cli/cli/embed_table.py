"""What `setvae embed` wrote, as lines and as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setvae_cli import numbers
from setvae_cli.cli.precompute import shown

KEY_WIDTH = len("dimensions")


@dataclass(frozen=True)
class Embedded:
    """A file of embeddings.

    Attributes:
        path: The file.
        subjects: Lines.
        without_events: Lines whose vector is empty.
        splits: Lines by split.
        size: Numbers a vector.
        pooling: How states became a vector.
        matched: Share of the events whose codes the encoder knows.
        seconds: For embedding and writing.
    """

    path: Path
    subjects: int
    without_events: int
    splits: Mapping[str, int]
    size: int
    pooling: str
    matched: float
    seconds: float


def table(facts: Embedded) -> list[str]:
    """Aligned lines."""
    splits = ", ".join(f"{name} {numbers.count(n)}" for name, n in facts.splits.items())
    rate = numbers.count(facts.subjects / max(facts.seconds, 1e-3))
    rows = [
        ("file", f"{shown(facts.path)} ({numbers.size(facts.path.stat().st_size)})"),
        ("subjects", numbers.count(facts.subjects) + (f" ({splits})" if splits else "")),
        ("dimensions", f"{facts.size}, {facts.pooling}"),
        ("time", f"{facts.seconds:.1f} s, {rate} subjects/s"),
    ]
    if facts.without_events:
        empty = numbers.count(facts.without_events)
        rows.insert(2, ("empty", f"{empty} vectors: no event that the model knows"))
    return ["Embedded", *(f"{name:<{KEY_WIDTH}}  {value}" for name, value in rows)]


def plain(facts: Embedded) -> dict[str, Any]:
    """The same for --json."""
    return {
        "file": shown(facts.path),
        "bytes": facts.path.stat().st_size,
        "subjects": facts.subjects,
        "without_events": facts.without_events,
        "splits": dict(facts.splits),
        "dimensions": facts.size,
        "pooling": facts.pooling,
        "matched": facts.matched,
        "seconds": facts.seconds,
        "subjects_per_second": facts.subjects / max(facts.seconds, 1e-3),
    }
