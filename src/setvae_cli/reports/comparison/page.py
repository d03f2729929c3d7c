"""comparison.html: what to choose, the table, and what few labels are worth."""

from __future__ import annotations

import math
from collections.abc import Iterator

from setvae_cli.evaluation.decision import TITLES, Decision, Row, Shares
from setvae_cli.evaluation.paired import Interval
from setvae_cli.numbers import count, counted
from setvae_cli.reports import html
from setvae_cli.reports.latents.picture import Picture

SPACED = "ul+p{margin-top:12px}"
EXPLAINED = {
    "summary_trees": "gradient-boosted trees on plain summaries of each variable: mean, least, "
    "largest, spread, count, first, last, mean of the later half; no network",
    "untrained": "logistic regression on embeddings of the same network before any training",
    "probe": "logistic regression on the frozen embeddings of the pre-trained network",
    "embedding_trees": "gradient-boosted trees on the same embeddings",
    "finetuned": "the pre-trained network with a new head, trained further on labels",
    "scratch": "the same network, from untrained weights",
    "ensemble": "mean of the logits of the fine-tuned networks",
    "blend": "mean of the standardised logits of the fine-tuned network and of trees on summaries",
}


def as_page(shares: Shares, picture: Picture | None) -> str:
    """The page, one file that needs nothing else."""
    title, sections = f"What predicts {shares.label}", _sections(shares, picture)
    return html.page(title, _lead(shares), sections, style=SPACED)


def _sections(shares: Shares, picture: Picture | None) -> Iterator[str]:
    last = shares.decisions[-1]
    notes = [html.paragraph(f"Note: {note}.") for note in shares.notes]
    yield html.section("What to choose", html.paragraph(last.advice), *notes)
    yield html.section("All methods", _table(last, shares))
    if picture:
        shown = html.picture(picture.wide, picture.narrow, picture.told)
        yield html.section(picture.title, shown, _by_share(shares), seen=False)
    for one in reversed(shares.decisions[:-1]):
        yield html.section(f"With {_share(one)} of the labels", _table(one, shares))
    methods = [f"{_title(row.name, shares)}: {EXPLAINED[row.name]}." for row in last.rows]
    yield html.section("How to read it", html.listed(methods), *_guide(shares))


def _lead(shares: Shares) -> str:
    if not shares.folds:
        return "One split; intervals of 95 % over subjects."
    times = f", dealt out {shares.repeats} times" if shares.repeats > 1 else ""
    return f"{shares.folds} folds{times}; the same subjects for every method."


def _table(decision: Decision, shares: Shares) -> str:
    head = ("method", "AUROC", "AUPRC", "AUROC difference", "AUPRC difference")
    rows = [_row(row, decision, shares) for row in decision.rows]
    return html.table(head, rows, labels=True)


def _row(row: Row, decision: Decision, shares: Shares) -> list[str]:
    (name,) = html.cells([_title(row.name, shares)])
    marks = [html.state("best", "clear")] if row.wins else []
    if row.name == decision.reference:
        marks.append(html.state("reference", "unknown"))
    return [
        " ".join([name, *marks]),
        _value(row.auroc, row.auroc_spread),
        _value(row.auprc, row.auprc_spread),
        _gain(row.auroc_gain),
        _gain(row.auprc_gain),
    ]


def _by_share(shares: Shares) -> str:
    rows = [
        [
            *html.cells([f"{_share(one)}, {count(one.labelled)} subjects"]),
            *(_value(r.auroc, r.auroc_spread) if r else "" for r in _pair(one)),
            _gain(tuned.auroc_gain if (tuned := one.row("finetuned")) else None),
            *(["{} of {}".format(*tuned.ahead) if tuned else ""] if shares.folds else []),
        ]
        for one in shares.decisions
    ]
    head: tuple[str, ...] = ("labels", "fine-tuned AUROC", "from scratch", "difference")
    head += ("better in folds",) if shares.folds else ()
    return html.table(head, rows, labels=True)


def _pair(decision: Decision) -> tuple[Row | None, Row | None]:
    return decision.row("finetuned"), decision.row("scratch")


def _title(name: str, shares: Shares) -> str:
    return f"ensemble of\u00a0{shares.seeds}" if name == "ensemble" else TITLES[name]


def _share(decision: Decision) -> str:
    return f"{100 * decision.share:g} %"


def _value(found: Interval, spread: float) -> str:
    """The mean, its spread over folds, and its interval over subjects."""
    if not math.isfinite(found.value):
        return "n/a"
    told = f"{found.value:.3f}" + (f" ± {spread:.3f}" if math.isfinite(spread) else "")
    known = math.isfinite(found.low)
    return html.measured(told, f"[{found.low:.3f}, {found.high:.3f}]" if known else "")


def _gain(found: Interval | None) -> str:
    if found is None or not math.isfinite(found.value):
        return ""
    known = math.isfinite(found.low)
    between = f"[{found.low:+.3f}, {found.high:+.3f}]" if known else ""
    return html.measured(f"{found.value:+.3f}", between)


def _guide(shares: Shares) -> Iterator[str]:
    if shares.folds:
        yield html.paragraph("± is the standard deviation over folds and repeats.", "small")
    inside = ", inside the folds and alike in every repeat" if shares.folds else ""
    yield html.paragraph(
        "Brackets are 95 % bootstrap intervals over subjects, drawn alike for every method"
        f"{inside}. Differences are from the reference, on the same subjects; a method is marked "
        "best only where its difference excludes 0. Everything was chosen on validation rows; a "
        "test row is read once.",
        "small",
    )
    if shares.seeds > 1:
        yield html.paragraph(f"Figures of networks are means of {shares.seeds} seeds.", "small")
    if shares.scratch_epochs:
        yield html.paragraph(
            f"The network from scratch was trained for {counted(shares.scratch_epochs, 'epoch')}, "
            "with the learning rate of pre-training for all of its parts.",
            "small",
        )
