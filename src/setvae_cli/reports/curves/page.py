"""report.html of curves: what was found, the figures, and how to read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from setvae_cli.numbers import count
from setvae_cli.reports import html
from setvae_cli.reports.curves import chart, readings
from setvae_cli.reports.curves.draw import Picture, describe
from setvae_cli.reports.curves.marks import marks_of
from setvae_cli.reports.curves.text import CAVEAT, Judged, event_words, figures_of

HEAD = ("rule", "state", "what the curves show", "when it says found")
TOLD = {
    "loss_curves": "Loss, reconstruction, KL and prediction over optimizer steps",
    "performance_metrics": "AUROC, AUPRC and accuracy of each validation over optimizer steps",
    "latent_use": "Active units, KL beside its floor, information and decoder gap of each level",
    "training_dynamics": "Beta, loss weights, KL against reconstruction, gradient norm and "
    "learning rate",
}


def as_page(runs: Sequence[Judged], pictures: Sequence[Picture]) -> str:
    """The page, one file that needs nothing else.

    Args:
        runs: In the order in which they were named.
        pictures: Of these runs.
    """
    one = len(runs) == 1
    title = f"Curves of {runs[0].run.name}" if one else f"Curves of {len(runs)} runs"
    lead = describe(runs[0].run) if one else "compared in the same figures"
    sections = _sections(runs, pictures)
    return html.page(title, lead, sections, script=chart.script(), style=chart.STYLE)


def _sections(runs: Sequence[Judged], pictures: Sequence[Picture]) -> Iterator[str]:
    yield html.section("What was found", *_findings(runs))
    yield chart.section([judged.run for judged in runs])
    for picture in pictures:
        names = ", ".join(judged.run.name for judged in runs)
        told = f"{TOLD[picture.name]}: {names}."
        shown = html.picture(picture.wide, picture.narrow, told)
        yield html.section(picture.title, shown, seen=False)
    if any(judged.run.events for judged in runs):
        yield html.section("What the monitor said, and what was done", *_events(runs))
    yield html.section("In figures", *_figures(runs))
    yield html.section("How to read it", html.listed((CAVEAT, *readings.GUIDE)))


def _findings(runs: Sequence[Judged]) -> Iterator[str]:
    for judged in runs:
        if len(runs) > 1:
            yield html.heading(judged.run.name)
            yield html.paragraph(describe(judged.run), "small")
        rows = []
        for one in judged.diagnoses:
            name, finding = html.cells([one.name, one.finding])
            tried = html.advice(f"Try: {one.mend}.") if one.mend else ""
            rows.append([name, html.state(one.state), finding + tried, html.advice(one.rule)])
        yield html.table(HEAD, rows)
        for note in judged.run.notes:
            yield html.paragraph(f"Note: {note}.", "small")


def _events(runs: Sequence[Judged]) -> Iterator[str]:
    letters = {(m.run or 0, m.step): m.letter for m in marks_of([judged.run for judged in runs])}
    for place, judged in enumerate(runs):
        if len(runs) > 1:
            yield html.heading(judged.run.name)
        rows = [
            html.cells(
                [
                    f"step {count(event.step)}",
                    letters.get((place, event.step), ""),
                    event_words(event),
                ]
            )
            for event in judged.run.events
        ]
        if rows:
            yield html.table(("when", "mark", "what"), rows)
        else:
            yield html.paragraph("This log holds no verdict.")


def _figures(runs: Sequence[Judged]) -> Iterator[str]:
    """One run's figures with what they say, or those of several beside one another."""
    if len(runs) == 1:
        rows = [html.cells(row) for row in figures_of(runs[0])]
        head: tuple[str, ...] = ("figure", "value", "reads as")
    else:
        found = [{name: value for name, value, _ in figures_of(judged)} for judged in runs]
        names = dict.fromkeys(name for one in found for name in one)
        rows = [html.cells([name, *(one.get(name, "") for one in found)]) for name in names]
        head = ("figure", *(judged.run.name for judged in runs))
    if rows:
        yield html.table(head, rows, stack=len(runs) == 1)
    else:
        yield html.paragraph("This log holds neither KL nor metrics of validation.")
