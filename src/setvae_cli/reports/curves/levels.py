"""Figures of the monitor, a level: which a log holds, and how they end.

Tags are those that `monitor/record.py` writes: `<split>_<figure>_level_<l>`, levels from 1.
"""

from __future__ import annotations

import re

from setvae_cli.numbers import count
from setvae_cli.reports.curves.readings import significant
from setvae_cli.reports.curves.series import Curves, Series

SPLITS = ("val", "train")
_NEGLIGIBLE_NATS = 0.05  # as the monitor has it: enough subjects make any cost significant
_TAG = re.compile(r"(?:val|train)_\w+_level_(\d+)")

Row = tuple[str, str, str]
"""Name, value and reading of a figure."""


def levels_of(run: Curves) -> tuple[int, ...]:
    """Levels that the monitor measured, lowest first."""
    found = (_TAG.fullmatch(tag) for tag in run.series)
    return tuple(sorted({int(match[1]) for match in found if match}))


def has_levels(run: Curves) -> bool:
    """Whether the monitor measured anything."""
    return bool(levels_of(run))


def figure(run: Curves, name: str, level: int, split: str = "") -> Series | None:
    """A figure of a level; without a split, that of validation before that of training."""
    return run.get(*(f"{each}_{name}_level_{level}" for each in ([split] if split else SPLITS)))


def floor_of(run: Curves) -> float | None:
    """Nats a set that free bits leave free on all levels at the end; None if it was not logged."""
    floors = [figure(run, "floor", level) for level in levels_of(run)]
    return sum(float(one.values[-1]) for one in floors if one) if any(floors) else None


def level_rows(run: Curves) -> list[Row]:
    """How the figures of every level end."""
    return [row for level in levels_of(run) for row in _rows(run, level)]


def _rows(run: Curves, level: int) -> list[Row]:
    rows: list[Row] = []
    end = {name: _last(figure(run, name, level)) for name in _NAMES}
    if end["kl"] is not None:
        floor = end["floor"]
        beside = "" if floor is None else f"floor of free bits {significant(floor)}"
        rows.append(("KL", f"{significant(end['kl'])} nats a set", beside))
    if end["active_units"] is not None:
        of = "" if end["latent"] is None else f" / {count(end['latent'])}"
        rows.append(("active units", f"{count(end['active_units'])}{of}", ""))
    if end["information"] is not None:
        rows.append(("information", f"<= {_bounded(end, 'information')}", _bracket(end)))
    if end["decoder_gap"] is not None:
        rows.append(("decoder gap", f"{_bounded(end, 'decoder_gap')}", _gap(end)))
    return [(f"Level {level}, {name}", value, reading) for name, value, reading in rows]


_NAMES = (
    "kl", "floor", "latent", "active_units", "information", "information_high", "bracket_low",
    "bracket_high", "decoder_gap", "decoder_gap_low", "decoder_gap_high",
)  # fmt: skip
_Ends = dict[str, float | None]


def _last(series: Series | None) -> float | None:
    return float(series.values[-1]) if series is not None else None


def _bounded(end: _Ends, name: str) -> str:
    """A value in nats with the interval that was logged with it."""
    value, low, high = (end.get(f"{name}{part}") for part in ("", "_low", "_high"))
    shown = significant(max(value or 0.0, 0.0) if name == "information" else value or 0.0)
    if low is not None and high is not None:
        return f"{shown} nats a set [{significant(low)}, {significant(high)}]"
    upper = "" if high is None else f" (upper end {significant(max(high, 0.0))})"
    return f"{shown} nats{upper}"


def _bracket(end: _Ends) -> str:
    low, high = end["bracket_low"], end["bracket_high"]
    if low is None or high is None:
        return ""
    return f"minibatch bracket {significant(low)} to {significant(high)}"


def _gap(end: _Ends) -> str:
    low, high = end["decoder_gap_low"], end["decoder_gap_high"]
    if low is None or high is None:
        return ""
    if low <= 0 <= high:
        return "covers 0: the decoder may ignore them"
    if max(abs(low), abs(high)) < _NEGLIGIBLE_NATS:
        return "next to nothing: the decoder does without them"
    return "the decoder uses the latents"
