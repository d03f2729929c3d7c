"""What `setvae visualize` says of the latents, as one table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setvae_cli import numbers
from setvae_cli.cli.output import HEAD_STYLE, KEY_STYLE, WARN_STYLE, Line
from setvae_cli.cli.precompute import shown

if TYPE_CHECKING:
    from setvae_cli.evaluation.latents import Latents
    from setvae_cli.monitor.measures import LevelMeasures
    from setvae_cli.monitor.verdict import Verdict

WIDTH, KEY_WIDTH = 80, 16
WORST = 3
NOT_JUDGED = "not judged"
HEAD = ("level", "KL nats", "floor", "active", "information", "decoder gap", "one look")
UNITS = {"nats": "nats a set", "distance": "a set, a distance (chamfer decoder)"}


def table(latents: Latents, files: Sequence[Path]) -> list[Line]:
    """Levels, what the history adds, how well sets are reconstructed, and where it is drawn.

    Args:
        latents: What was found.
        files: What was written.
    """
    levels, judged = latents.measures.levels, _verdicts(latents)
    rows = [_row(level, judged.get(level.level)) for level in levels]
    aligned = numbers.aligned([HEAD[:-1], *(cells[:-1] for cells in rows)])
    head = f"{latents.run or latents.checkpoint}, {latents.split}"
    lines: list[Line] = [[("Latents", HEAD_STYLE), (f"  {head}", None)]]
    lines.append(f"{aligned[0]}  {HEAD[-1]}")
    for cells, text in zip(rows, aligned[1:], strict=True):
        style = None if cells[-1] in ("healthy", NOT_JUDGED) else WARN_STYLE
        lines.append([(f"{text}  ", None), (cells[-1], style)])
    for level in levels:
        lines += _reasons(latents, level, judged.get(level.level))
    for name, value in (*_facts(latents), ("report", _report(files))):
        lines += _wrapped(name, value)
    return lines


def plain(latents: Latents, files: Sequence[Path]) -> dict[str, Any]:
    """The same for --json."""
    measures, errors, sets = latents.measures, latents.errors, latents.sets
    return {
        "run": latents.run,
        "checkpoint": latents.checkpoint,
        "step": latents.step,
        "split": latents.split,
        "subjects": len(latents.subjects.row),
        "subjects_in_split": latents.subjects_in_split,
        "sets": latents.sets_seen,
        "sets_kept": len(sets.row),
        "levels": [_plain_level(level) for level in measures.levels],
        "verdicts": [asdict(verdict) for verdict in _verdicts(latents).values()],
        "history_explained": None if measures.history is None else measures.history.explained,
        "history_gap": _cost(measures.history.gap) if measures.history else None,
        "reconstruction": latents.mean_recon,
        "reconstruction_unit": latents.recon_unit,
        "errors": [
            {"code": code, "kind": kind, "count": count, "error": error, "nats": nats}
            for code, kind, count, error, nats in zip(
                errors.code,
                errors.kind,
                errors.count.tolist(),
                errors.error.tolist(),
                errors.nats.tolist(),
                strict=True,
            )
        ],
        "no_errors": errors.reason or None,
        "severity": latents.subjects.severity_name,
        "files": [shown(path) for path in files],
    }


def _verdicts(latents: Latents) -> dict[int, Verdict]:
    """What this one look says of each level, where enough sets were seen."""
    from setvae_cli.reports.latents.describe import verdicts

    return {one.level: one for one in verdicts(latents)}


def _plain_level(level: LevelMeasures) -> dict[str, Any]:
    bound, gap = level.information, level.decoder_gap
    return {
        "level": level.level,
        "kl": level.kl,
        "floor": level.floor,
        "active": level.active,
        "latent": level.latent,
        "information": None if bound is None else asdict(bound),
        "bracket": None if level.bracket is None else asdict(level.bracket),
        "decoder_gap": _cost(gap),
        "sets": level.sets,
        "subjects": level.subjects,
    }


def _cost(gap: Any) -> dict[str, float] | None:
    return None if gap is None else asdict(gap.cost)


def _row(level: LevelMeasures, verdict: Verdict | None) -> tuple[str, ...]:
    bound, gap = level.information, level.decoder_gap
    return (
        f"{level.level:>3}",
        f"{level.kl:.2f}",
        f"{level.floor:.1f}",
        f"{level.active} / {level.latent}",
        "n/a" if bound is None else f"<= {max(bound.high, 0):.2f} nat",
        "n/a" if gap is None else f"{gap.cost.value:.2f}",
        verdict.state if verdict else NOT_JUDGED,
    )


def _reasons(latents: Latents, level: LevelMeasures, verdict: Verdict | None) -> list[Line]:
    """Why a level is not just healthy, and what to try."""
    name = f"level {level.level}"
    if verdict is None:
        from setvae_cli.reports.latents.describe import unjudged

        return _wrapped(name, f"{NOT_JUDGED}: {unjudged(latents, level)}")
    found = [(str(note.name), note.rule, note.try_next) for note in verdict.notes]
    if verdict.state != "healthy":
        found.insert(0, (verdict.state, verdict.rule, verdict.try_next))
    lines: list[Line] = []
    for what, rule, mend in found:
        lines += [*_wrapped(name, f"{what}: {rule}"), *_wrapped("", f"-> {mend}")]
    return lines


def _facts(latents: Latents) -> list[tuple[str, str]]:
    sets, history = latents.sets, latents.measures.history
    explained = None if history is None else history.explained
    share = "n/a (too few sets)" if explained is None else numbers.percent(max(explained, 0))
    facts = [("z explains", f"{share} of the variance of h, linearly")]
    facts.append(("reconstruction", f"{latents.mean_recon:.2f} {UNITS[latents.recon_unit]}"))
    facts.append(("worst codes", _worst(latents)))
    seen, kept = latents.sets_seen, len(sets.row)
    if kept < seen:
        note = "figures are of all, pictures and latents.parquet of these"
        facts.append(("sets", f"{numbers.count(kept)} of {numbers.count(seen)} kept: {note}"))
    return facts


def _worst(latents: Latents) -> str:
    """The numeric codes with the largest errors; those of other kinds are probabilities."""
    errors = latents.errors
    if errors.reason:
        return f"n/a ({errors.reason})"
    found = zip(errors.error.tolist(), errors.code, errors.kind, strict=True)
    numeric = sorted((error, code) for error, code, kind in found if kind == "numeric")
    listed = ", ".join(f"{code} {error:.2f} SD" for error, code in numeric[: -WORST - 1 : -1])
    return listed or "n/a (no code has numbers)"


def _report(files: Sequence[Path]) -> str:
    page = next((path for path in files if path.suffix == ".html"), files[0])
    return f"{shown(page)} and {len(files) - 1} more files"


def _wrapped(name: str, value: str) -> list[Line]:
    first, *rest = textwrap.wrap(
        value, WIDTH - KEY_WIDTH, break_long_words=False, break_on_hyphens=False
    ) or [""]
    head: Line = [(f"{name:<{KEY_WIDTH}}", KEY_STYLE), (first, None)]
    return [head, *(" " * KEY_WIDTH + line for line in rest)]
