"""report.html of latents: the verdict first, then the map to explore, pictures and figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

from setvae_cli.evaluation.latents import Latents
from setvae_cli.monitor.measures import LevelMeasures, Measures
from setvae_cli.monitor.rules import State
from setvae_cli.monitor.verdict import Verdict
from setvae_cli.numbers import count, percent
from setvae_cli.reports import html
from setvae_cli.reports.latents.describe import footer, unjudged, verdicts
from setvae_cli.reports.latents.picture import Picture
from setvae_cli.reports.posterior import nats_of

_SIGNS: dict[State, str] = {
    "warming": "unknown",
    "collapsed": "found",
    "shrinking": "found",
    "partial": "found",
    "healthy": "clear",
}
_PLAIN: dict[State, str] = {
    "collapsed": "its latents say next to nothing of their sets, and the decoder does without them",
    "shrinking": "it uses fewer and fewer of its latents",
    "partial": "a part of its latents is out of use",
    "healthy": "its latents are in use",
}
_HEAD = ("posterior", "verdict", "figures", "rule and what to try")
_CAUTION = (
    "The rules of the monitor on this one check. While a model trains, a verdict needs three checks"
    " in a row and compares active units with the run's own past; metrics.jsonl holds those."
)

HINT = (
    "Scroll or pinch to zoom, drag to move; look at a point for its row number and label, and for"
    " the line that joins z with its own h."
)
GUIDE = (
    "Active units: dimensions whose posterior mean varies over sets by more than 0.01. Under 2 %"
    " of them is one sign of collapse; few, but used, is spare capacity.",
    "KL is raw, in nats a set: no beta, no free bits. Set it beside its floor, which free bits"
    " allow at no cost; a KL near the floor tells nothing.",
    "Information is an upper bound on what latents say of their sets. KL may be high while it is"
    " near 0: then all sets are told the same.",
    "The bracket bounds the same information from a sample of sets. Near the logarithm of their"
    " number the lower bound is saturated and the truth may lie far above.",
    "Decoder gap: what reconstruction loses with another subject's latents. About 0 means that the"
    " decoder does not read them.",
    "z and h together: z is carried into the space of h by least squares. An R² near 1, and each z"
    " on its own h, mean that the history adds nothing to the latent. A line joins the two; clouds"
    " that cover one another while lines are long mean nothing.",
    "Distances in a map by UMAP or t-SNE mean little between far points, and sizes of clusters mean"
    " nothing; PCA keeps both.",
    "Reconstruction errors of numbers are in standard deviations of the training split; a normal"
    " variable that is always given its mean has 0.80. Errors of classes are probabilities.",
    "A correlation is Pearson's, over sets; sets of one subject are alike, so that chance is"
    " counted over subjects.",
    "Each colour of a scale stands for as many sets as any other: read its values off the scale.",
)


def as_page(latents: Latents, pictures: Sequence[Picture], points: dict[str, Any]) -> str:
    """The page, one file that needs nothing else.

    Args:
        latents: What was found.
        pictures: Of it.
        points: Of the scatter, as `points.points` made them.
    """
    title = f"Latents of {latents.run}"
    sections = _sections(latents, pictures, points)
    script, style = _part("scatter.js"), _part("scatter.css")
    return html.page(title, footer(latents), sections, script=script, style=style)


def _sections(
    latents: Latents, pictures: Sequence[Picture], points: dict[str, Any]
) -> Iterator[str]:
    yield html.section("What was found", *_found(latents))
    parts = (
        html.paragraph(HINT, "small"),
        _part("scatter.html"),
        html.data("latent-data", points),
    )
    yield html.section("Latent map", *parts)
    for picture in pictures:
        shown = html.picture(picture.wide, picture.narrow, picture.told)
        yield html.section(picture.title, shown, seen=False)
    yield html.section("In figures", *_figures(latents))
    yield html.section("How to read it", html.listed(GUIDE))


def _part(name: str) -> str:
    """A file of the scatter, which stands beside this module."""
    return (resources.files(__package__) / name).read_text("utf-8").strip()


def _found(latents: Latents) -> Iterator[str]:
    said = {one.level: one for one in verdicts(latents)}
    for level in latents.measures.levels:
        verdict = said.get(level.level)
        told = _PLAIN[verdict.state] if verdict else f"not judged: {unjudged(latents, level)}"
        yield html.paragraph(f"Level {level.level}: {told}.")
    rows = [_row(latents, level, said.get(level.level)) for level in latents.measures.levels]
    yield html.table(_HEAD, rows)
    history = latents.measures.history
    if history is not None and history.explained is not None:
        share = max(history.explained, 0)
        yield html.paragraph(f"A linear map of z explains {percent(share)} of the variance of h.")
    yield html.paragraph(_CAUTION, "small")


def _row(latents: Latents, level: LevelMeasures, verdict: Verdict | None) -> list[str]:
    number = f"level {level.level}"
    if verdict is None:
        (words,) = html.cells([f"{count(level.sets)} sets for {level.latent} dimensions"])
        return [number, html.state("unknown"), words, html.advice(unjudged(latents, level))]
    tried = f" Try: {verdict.try_next}." if verdict.try_next else ""
    said = html.advice(f"{verdict.rule}.{tried}")
    for note in verdict.notes:
        said += html.advice(f"Note, {note.name}: {note.rule}. Try: {note.try_next}.")
    (figures,) = html.cells([verdict.figures])
    return [number, html.state(verdict.state, _SIGNS[verdict.state]), figures, said]


def _figures(latents: Latents) -> Iterator[str]:
    """A column a level."""
    measures = latents.measures
    columns = [dict(_level(level, measures)) for level in measures.levels]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [html.cells([name, *(column.get(name, "") for column in columns)]) for name in names]
    head = ("figure", *(f"level {level.level}" for level in measures.levels))
    yield html.table(head, rows, stack=len(columns) == 1)
    if measures.legacy:
        yield html.heading("The original's figures, on which no verdict rests")
        legacy = [html.cells([name, f"{value:.4g}"]) for name, value in measures.legacy.items()]
        yield html.table(("figure", "value"), legacy)


def _level(level: LevelMeasures, measures: Measures) -> Iterator[tuple[str, str]]:
    found, latent = level.dimensions, level.latent
    yield "active units", f"{level.active} of {latent}"
    yield "dimensions with KL above 0.1 nat", f"{sum(found.used)} of {latent}"
    yield "dimensions under 0.01 nat for 99 % of sets", f"{sum(found.collapsed)} of {latent}"
    yield "posterior variance, mean (1: the prior)", f"{sum(found.variance) / latent:.3g}"
    yield (
        "dimensions matched to the prior, over-sharp",
        f"{sum(found.matched)}, {sum(found.over_sharp)}",
    )
    for name, value, low, high in nats_of(level, measures):
        ends = f"{low:.3g} to {high:.3g}"
        middle = f"{value:.3g}" if low == high else f"{value:.3g} [{ends}]"
        yield f"{name}, nats a set", ends if value != value else middle
    yield "sets, subjects", f"{count(level.sets)}, {count(level.subjects)}"
