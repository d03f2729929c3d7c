"""The chart of a report, to look closer: curves chosen, zoomed and read off step by step.

Its script stands in chart.js beside this file; the pictures of the report do without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from setvae_cli.reports import figures, html
from setvae_cli.reports.curves.draw import DYNAMICS, FURTHER, METRICS, RECALL, TERMS, tags_of
from setvae_cli.reports.curves.levels import SPLITS, levels_of
from setvae_cli.reports.curves.marks import marks_of
from setvae_cli.reports.curves.series import Curves, Series
from setvae_cli.reports.figures import MOST_LINES, PENS, Pen

MOST_POINTS = 400
_OF_LEVELS = (
    ("active_units", "Active units", "dimensions"),
    ("kl", "KL a level", "nats a set"),
    ("information", "Information, upper bound", "nats a set"),
    ("decoder_gap", "Decoder gap", "nats a set"),
    ("shift", "Aggregate posterior from the prior", "nats"),
)
STYLE = """
.chart .bar{display:flex;flex-wrap:wrap;gap:8px;align-items:center;margin:0 0 10px}
.chart select,.chart button{font:inherit;font-size:15px;min-height:36px;padding:4px 10px;
color:var(--ink);background:var(--paper);border:1px solid var(--faint);border-radius:6px}
.chart select{max-width:100%}
.chart fieldset{border:0;margin:0 0 8px;padding:0;display:flex;flex-wrap:wrap;gap:2px 16px}
.chart legend{padding:0;font-size:14px;color:var(--faint)}
.chart label{display:inline-flex;align-items:center;gap:6px;min-height:32px;overflow-wrap:anywhere}
.chart .bar label{margin-right:auto;flex-wrap:wrap}
.plot{display:block;width:100%;touch-action:pan-y;cursor:crosshair;user-select:none}
.plot:focus{outline:1px solid var(--line);outline-offset:2px}
.plot:focus-visible{outline:2px solid #0072b2;outline-offset:2px;border-radius:4px}
.plot .grid{stroke:var(--line)}
.plot .tick{fill:var(--faint);font-size:12px}
.plot .curve{fill:none;stroke-linejoin:round}
.plot .mark{stroke:var(--ink);stroke-dasharray:1 3}
.plot .letter{fill:var(--ink);font-size:11px;font-weight:700}
.plot line.cursor{stroke:var(--faint)}
.plot circle.cursor{stroke:var(--paper);stroke-width:1.5}
.plot .chosen{fill:#0072b2;fill-opacity:.15}
.told{list-style:none;padding:0;margin:8px 0;min-height:3.2em;display:flex;flex-wrap:wrap;
gap:2px 20px;font-size:15px;font-variant-numeric:tabular-nums}
.told li{display:inline-flex;align-items:center;gap:6px;margin:0;overflow-wrap:anywhere}
""".strip()
_CHART = """
<noscript><p>The chart needs scripts; the pictures below show the same.</p></noscript>
<div class="chart" id="chart" hidden>
<div class="bar"><label>Show <select class="choice"></select></label>
<button type="button" class="in">Zoom in</button>
<button type="button" class="out">Zoom out</button>
<button type="button" class="all">All steps</button></div>
<fieldset class="filter"><legend>Curves</legend></fieldset>
<svg class="plot" tabindex="0" role="application" aria-label="Curves over optimizer steps"></svg>
<ul class="told" aria-live="polite"></ul>
</div>
""".strip()
HELP = (
    "Drag across steps to zoom in, double-click for all of them. Once the chart is clicked, the "
    "wheel, + and - zoom, arrows move the line, and 0 shows all steps."
)


def script() -> str:
    """What the chart runs."""
    return files(__package__).joinpath("chart.js").read_text("utf-8")


def section(runs: Sequence[Curves]) -> str:
    """The chart's part of the page, with its data."""
    bound = f"At most {MOST_POINTS} points a curve, extremes kept; all stand in curves.parquet."
    return html.section(
        "Look closer",
        html.data("chart-data", content(runs)),
        _CHART,
        html.paragraph(f"{HELP} {bound}", "small"),
    )


def content(runs: Sequence[Curves]) -> dict[str, Any]:
    """What the chart shows: groups of curves, and marked steps."""
    drawn = runs[:MOST_LINES]
    groups = [
        {"name": name, "unit": unit, "curves": curves}
        for name, unit, named in _groups(drawn)
        if (curves := list(_curves(drawn, named)))
    ]
    marks = [{"step": m.step, "letter": m.letter, "words": m.words} for m in marks_of(drawn)]
    return {"groups": groups, "marks": marks}


def _groups(runs: Sequence[Curves]) -> Iterator[tuple[str, str, Mapping[str, Sequence[str]]]]:
    """Name, unit, and what the lines of each run are called with their tags."""
    for word, name, unit in (*TERMS, *FURTHER):
        train = (f"train_{word}_step", f"legacy/train_{word}_step", *tags_of("train", word))
        yield name, unit, {"training": train, "validation": tags_of("val", word)}
    for word, name in (*METRICS, *RECALL):
        yield name, "0 to 1", {"validation": (f"val_{word}",)}
    levels = sorted({level for run in runs for level in levels_of(run)})
    for figure, name, unit in _OF_LEVELS:
        yield (
            name,
            unit,
            {f"level {n}": [f"{split}_{figure}_level_{n}" for split in SPLITS] for n in levels},
        )
    for name, unit, tags in DYNAMICS:
        yield name, unit, {"training": tags}


def _curves(runs: Sequence[Curves], named: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    several = len(runs) > 1
    for place, run in enumerate(runs):
        for number, (word, tags) in enumerate(named.items()):
            series = run.get(*tags)
            if series is not None:
                name = f"{run.name}, {word}" if several else word
                pen = PENS[(place if several else number) % len(PENS)]
                faint = word == "training" and "validation" in named
                yield {"name": name, "faint": faint, **_look(pen), **_points(series)}


def _look(pen: Pen) -> dict[str, str]:
    dash = "" if pen.dash == "-" else " ".join(str(2 * length) for length in pen.dash[1])
    return {"colour": pen.colour, "dash": dash}


def _points(series: Series) -> dict[str, list[float]]:
    steps, values = figures.thinned(series.steps, series.values, MOST_POINTS)
    return {"x": steps.tolist(), "y": [float(f"{value:.5g}") for value in values]}
