"""The table that decides, in 80 columns, and the same as plain values."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from setvae_cli import numbers

if TYPE_CHECKING:
    from setvae_cli.evaluation.decision import Decision, Row, Shares
    from setvae_cli.evaluation.paired import Interval

WIDTH = 80
NAME, VALUE, GAIN = 21, 17, 24
SURE = " *"


def table(shares: Shares) -> list[str]:
    """All methods with all labels that may be read; then, with several shares, each share."""
    from setvae_cli.evaluation.decision import TITLES

    decision = shares.decisions[-1]
    over = f"over {TITLES[decision.reference]}"
    lines = [f"{'Deciding table':<{NAME}}{'AUROC':<{VALUE}}{'AUPRC':<{VALUE}}{over}"]
    lines += [_line(row, shares) for row in decision.rows]
    if len(shares.decisions) > 1:
        lines += ["", *_by_share(shares)]
    lines += ["", *_wrapped(decision.advice)]
    return [*lines, *_told(shares)]


def plain(shares: Shares) -> dict[str, Any]:
    """The same for --json; what is not defined is null."""
    return {"comparison": _without_nan(asdict(shares))}


def _line(row: Row, shares: Shares) -> str:
    gain = "" if row.auroc_gain is None else _gain(row.auroc_gain)
    auroc = _value(row.auroc, row.auroc_spread)
    auprc = _value(row.auprc, row.auprc_spread)
    name = f"{_name(row.name, shares):<{NAME}}{auroc:<{VALUE}}{auprc:<{VALUE}}"
    return f"{name}{gain}{_mark(row.auroc_gain)}".rstrip()


def _mark(gain: Interval | None) -> str:
    return SURE if gain and gain.excludes_zero else ""


def _name(method: str, shares: Shares) -> str:
    from setvae_cli.evaluation.decision import TITLES

    return f"ensemble of {shares.seeds}" if method == "ensemble" else TITLES[method]


def _value(found: Interval, spread: float) -> str:
    """Mean and standard deviation over folds; of one split its interval."""
    if not math.isfinite(found.value):
        return "n/a"
    if math.isfinite(spread):
        return f"{found.value:.3f} sd {spread:.3f}"
    if not math.isfinite(found.low):
        return f"{found.value:.3f}"
    return f"{found.value:.3f} [{_short(found.low)}, {_short(found.high)}]"


def _gain(found: Interval) -> str:
    if not math.isfinite(found.value):
        return "n/a"
    if not math.isfinite(found.low):
        return f"{found.value:+.3f}"
    return f"{found.value:+.3f} [{_signed(found.low)}, {_signed(found.high)}]"


def _short(value: float) -> str:
    """Two decimals without the leading 0, .86; in as many letters, 1.0."""
    return f"{value:.2f}".removeprefix("0")[:3]


def _signed(value: float) -> str:
    """Three decimals with a sign and without the leading 0, +.012; in as many letters, -1.00."""
    text = f"{value:+.3f}"
    return (text[0] + text[1:].removeprefix("0"))[:5]


def _by_share(shares: Shares) -> list[str]:
    """Fine-tuned against from scratch, by how many labels could be read."""
    folds = "folds" if shares.folds else ""
    words = ("AUROC by labels", "fine-tuned", "from scratch")
    head = "".join(f"{word:<{VALUE}}" for word in words) + f"{'difference':<{GAIN}}{folds}"
    lines = [_share_line(decision, bool(folds)) for decision in shares.decisions]
    return [head.rstrip(), *lines]


def _share_line(decision: Decision, folds: bool) -> str:
    tuned, scratch = decision.row("finetuned"), decision.row("scratch")
    name = f"{100 * decision.share:g} % ({numbers.count(decision.labelled)})"
    values = [_value(row.auroc, row.auroc_spread) if row else "n/a" for row in (tuned, scratch)]
    gain = tuned.auroc_gain if tuned and scratch else None
    told = f"{_gain(gain)}{_mark(gain)}" if gain else ""
    ahead = "{}/{}".format(*tuned.ahead) if tuned and gain and folds else ""
    cells = "".join(f"{cell:<{VALUE}}" for cell in (name, *values))
    return f"{cells}{told:<{GAIN}}{ahead}".rstrip()


def _told(shares: Shares) -> list[str]:
    """How it was measured, and what has to be known."""
    if shares.folds:
        times = f", {shares.repeats} times" if shares.repeats > 1 else ""
        how = f"{shares.label}: mean and standard deviation over {shares.folds} folds{times}"
    else:
        how = f"{shares.label}: one split, with 95 % intervals over subjects"
    parts = [how]
    if shares.seeds > 1:
        parts.append(f"networks: mean of {shares.seeds} seeds")
    if shares.scratch_epochs:
        more = ", more with fewer labels" if len(shares.decisions) > 1 else ""
        parts.append(f"from scratch: {numbers.counted(shares.scratch_epochs, 'epoch')}{more}")
    parts.append("differences: in pairs, 95 % over subjects")
    if shares.folds and len(shares.decisions) > 1:
        parts.append("folds: in how many the fine-tuned one is better")
    left_out = shares.decisions[-1].left_out
    notes = [f"{left_out} subjects without a prediction are left out"] if left_out else []
    stars = ["* the difference excludes 0"] if any(_marked(shares)) else []
    return [
        line
        for text in ("; ".join(parts), *stars, *notes, *shares.notes)
        for line in _wrapped(text, "  ")
    ]


def _marked(shares: Shares) -> Iterator[bool]:
    """Whether a line of either table bears a mark."""
    for row in shares.decisions[-1].rows:
        yield bool(_mark(row.auroc_gain))
    if len(shares.decisions) > 1:
        yield from (SURE in _share_line(one, folds=False) for one in shares.decisions)


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of 80 columns; an interval stays whole."""
    kept = re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", "\u00a0"), text)
    lines = textwrap.wrap(kept, WIDTH, subsequent_indent=indent)
    return [line.replace("\u00a0", " ") for line in lines]


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
