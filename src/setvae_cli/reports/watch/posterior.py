"""What the monitor measured last, a line a level."""

from __future__ import annotations

from setvae_cli import numbers
from setvae_cli.reports.watch.course import Course
from setvae_cli.reports.watch.lines import HEAD, KEY, WARN, Line, wrapped
from setvae_cli.reports.watch.notices import TROUBLE
from setvae_cli.reports.watch.plot import figure

_SPLITS = {"val": "validation", "train": "training window", "test": "test split"}
_DROPPED = ("since", "bracket", "decoder gap", "floor")  # in this order where room is short


def posterior_block(course: Course, columns: int, *, ended: bool = False) -> list[Line]:
    """A table of levels, and why some have no verdict; empty where nothing was measured.

    Args:
        course: What was logged.
        columns: Width.
        ended: Whether nothing more is expected, so that no verdict will come.
    """
    split = next((each for each in _SPLITS if _measured(course, each)), "val")
    rows = [_row(course, split, level) for level in course.levels]
    if not rows:
        return []
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    for dropped in _DROPPED:
        if _width(rows, names) > columns and dropped in names:
            names.remove(dropped)
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    title: Line = [("Posterior", HEAD), (f"   {_where(course, split)}", None)]
    header: Line = [("  ".join(f"{name:>{widths[name]}}" for name in names), KEY)]
    lines = [title, header, *(_line(row, widths) for row in rows)]
    for level in course.levels:
        lines += _undecided(course, level, columns, ended=ended)
    return lines


def _undecided(course: Course, level: int, columns: int, *, ended: bool) -> list[Line]:
    """Why validation says nothing of a level yet, and what the training window says."""
    verdict = course.notices.verdicts.get(("val", level), {})
    if verdict.get("state") != "warming":
        return []
    told = "the run ended before validation gave a verdict" if ended else "no verdict yet"
    told += f": {verdict['rule']}" if verdict.get("rule") else ""
    window = course.notices.verdicts.get(("train", level), {}).get("state")
    if window and window != "warming":
        told += f"; the training window says {window}"
    style = WARN if window in TROUBLE else None
    return wrapped((f"level {level}  ", style), told, columns)


def _line(row: dict[str, str], widths: dict[str, int]) -> Line:
    line: Line = []
    for name, width in widths.items():
        style = WARN if name == "verdict" and row[name] in TROUBLE else None
        line.append((f"{row[name]:>{width}}", style))
        line.append(("  ", None))
    return line[:-1]


def _width(rows: list[dict[str, str]], names: list[str]) -> int:
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in names]
    return sum(widths) + 2 * (len(names) - 1)


def _measured(course: Course, split: str) -> bool:
    return any(f"{split}_active_units_level_{level}" in course.latest for level in course.levels)


def _where(course: Course, split: str) -> str:
    steps = [
        step
        for tag, step in course.latest_step.items()
        if tag.startswith(f"{split}_active_units_level_")
    ]
    return (
        f"{_SPLITS[split]}, step {numbers.count(max(steps))}, nats a set"
        if steps
        else "no check was logged yet"
    )


def _row(course: Course, split: str, level: int) -> dict[str, str]:
    def value(name: str) -> float | None:
        return course.latest.get(f"{split}_{name}_level_{level}")

    verdict = course.notices.verdicts.get(("train" if split == "train" else "val", level), {})
    since = verdict.get("since")
    since = since if isinstance(since, int) else None
    active, latent = value("active_units"), value("latent")
    bound = value("information_high") or value("information")
    return {
        "level": str(level),
        "verdict": str(verdict.get("state", "none yet")),
        "since": "" if since is None else numbers.count(since),
        "KL": _text(value("kl")),
        "floor": _text(value("floor")),
        "active": "" if active is None else f"{active:.0f}" + _of(latent),
        "information": "" if bound is None else f"<= {max(bound, 0):.2f}",
        "bracket": _between(value("bracket_low"), value("bracket_high")),
        "decoder gap": _text(value("decoder_gap")),
    }


def _of(latent: float | None) -> str:
    return "" if latent is None else f" / {latent:.0f}"


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if abs(value) < 1000 else figure(value)


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"
