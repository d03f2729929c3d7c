"""What a checkpoint of the original SeqSetVAE says of itself, as a table."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setvae_cli import numbers
from setvae_cli.cli.output import HEAD_STYLE, Line
from setvae_cli.cli.precompute import shown

if TYPE_CHECKING:
    from setvae_cli.runs.original import OriginalCheckpoint, PartStatistics

WIDTH, KEY_WIDTH = 80, 18
HEAD = ("part", "tensors", "parameters", "mean", "std", "largest", "not finite")


def table(original: OriginalCheckpoint, path: Path) -> list[Line]:
    """Size, place, architecture, hyper-parameters, and the weights part by part."""
    place = [
        f"{name} {numbers.count(value)}"
        for name, value in (("epoch", original.epoch), ("step", original.step))
        if value is not None
    ]
    rows = [
        ("file", f"{shown(path)}, {numbers.size(original.bytes)}"),
        ("place", ", ".join(place) or "not said"),
        ("trainer", f"Lightning {original.lightning}" if original.lightning else "not said"),
        ("parameters", numbers.count(original.parameters)),
        ("architecture", _listed(original.architecture)),
        ("hyper-parameters", _listed(original.hyper_parameters)),
    ]
    lines: list[Line] = [[("Original SeqSetVAE checkpoint", HEAD_STYLE)]]
    lines += [line for name, value in rows for line in _wrapped(name, value)]
    return [*lines, "", *numbers.aligned([HEAD, *map(_part, original.parts)])]


def plain(original: OriginalCheckpoint, path: Path) -> dict[str, Any]:
    """The same for --json."""
    described = asdict(original)
    for part in described["parts"]:
        part.update({name: None for name, x in part.items() if isinstance(x, float) and x != x})
    return {"original": True, "file": shown(path), "parameters": original.parameters, **described}


def _part(part: PartStatistics) -> tuple[str, ...]:
    moments = (part.mean, part.std, part.largest)
    return (
        part.name,
        numbers.count(part.tensors),
        numbers.count(part.parameters),
        *("n/a" if math.isnan(x) else f"{x:.3g}" for x in moments),
        numbers.count(part.not_finite),
    )


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "not said"


def _wrapped(name: str, value: str) -> list[str]:
    return textwrap.wrap(
        value,
        WIDTH,
        initial_indent=f"{name:<{KEY_WIDTH}}",
        subsequent_indent=" " * KEY_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )
