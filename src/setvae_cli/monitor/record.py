"""What a check leaves in the logs: scalars in both, and in metrics.jsonl a record an event.

Scalars of `val`, from a validation, and of `train`, from the window over training batches:

    <split>_kl_level_<l>                  raw KL, nats a set; its floor is free bits x dimensions
    <split>_active_units_level_<l>        dimensions, of <split>_latent_level_<l>
    <split>_used_units_level_<l>          dimensions with more than 0.1 nat
    <split>_collapsed_units_level_<l>     dimensions under 0.01 nat for 99 % of sets
    <split>_variance_level_<l>            mean residual variance; 1 is the prior
    <split>_information_level_<l>         upper bound on information, nats; _high: its upper end
    <split>_bracket_low_level_<l>         InfoNCE; _high: leave one out
    <split>_shift_level_<l>               aggregate posterior from the prior, nats
    <split>_decoder_gap_level_<l>         cost of another subject's latents, nats a set; _low, _high
    <split>_history_explained             share of h_t that is linear in z_t
    <split>_history_gap                   cost of another subject's past, nats a set
    legacy/<split>_<number>               the original's

A figure that was not measured, or is no number, has no entry. Events carry `event`, which is
`verdict` or `action`.
"""

from __future__ import annotations

from math import isfinite
from typing import Literal

from setvae_cli.monitor.actions import Action
from setvae_cli.monitor.measures import LevelMeasures, Measures
from setvae_cli.monitor.verdict import Verdict

Split = Literal["val", "train"]
Plain = float | int | str


def scalars(measures: Measures, split: Split) -> dict[str, float]:
    """All figures of a check, by tag."""
    found: dict[str, float | None] = {}
    for level in measures.levels:
        for name, value in _of_level(level).items():
            found[f"{split}_{name}_level_{level.level}"] = value
    if measures.history is not None:
        gap = measures.history.gap
        found[f"{split}_history_explained"] = measures.history.explained
        found[f"{split}_history_gap"] = None if gap is None else gap.cost.value
    for name, value in measures.legacy.items():
        found[f"legacy/{split}_{name}"] = value
    return {tag: value for tag, value in found.items() if value is not None and isfinite(value)}


def verdict_record(verdict: Verdict, split: Split) -> dict[str, Plain]:
    """A verdict that changed, with its notes."""
    return {
        "event": "verdict",
        "split": split,
        "level": verdict.level,
        "state": verdict.state,
        "since": verdict.since,
        "rule": verdict.rule,
        "figures": verdict.figures,
        "try": verdict.try_next,
        "notes": "; ".join(
            f"{note.name} since {note.since}: {note.rule}" for note in verdict.notes
        ),
    }


def action_record(action: Action) -> dict[str, Plain]:
    """What was done about a collapse."""
    return {
        "event": "action",
        "kind": action.kind,
        "levels": ",".join(map(str, action.levels)),
        **{f"new_{name}": value for name, value in action.changes.items()},
        "words": action.words,
    }


def _of_level(level: LevelMeasures) -> dict[str, float | None]:
    dimensions, bound, gap = level.dimensions, level.information, level.decoder_gap
    return {
        "kl": level.kl,
        "floor": level.floor,
        "latent": level.latent,
        "active_units": level.active,
        "used_units": sum(dimensions.used),
        "collapsed_units": sum(dimensions.collapsed),
        "variance": sum(dimensions.variance) / level.latent,
        "information": None if bound is None else bound.value,
        "information_high": None if bound is None else bound.high,
        "bracket_low": None if level.bracket is None else level.bracket.low,
        "bracket_high": None if level.bracket is None else level.bracket.high,
        "shift": None if level.gaussian_kl is None else level.gaussian_kl.value,
        "decoder_gap": None if gap is None else gap.cost.value,
        "decoder_gap_low": None if gap is None else gap.cost.low,
        "decoder_gap_high": None if gap is None else gap.cost.high,
    }
