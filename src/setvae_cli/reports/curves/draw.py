"""The figures of curves: losses, performance, dynamics, and the use of latents where it was logged.

Of one run, training is a solid line and validation a dashed one with marks. Compared runs share
each panel, one colour and dash a run, and training and validation have panels of their own. Steps
at which a verdict changed, or something was done about one, are marked with letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from setvae_cli.numbers import count
from setvae_cli.reports import figures
from setvae_cli.reports.curves.latents import PICTURE, latent_keys, latent_panels
from setvae_cli.reports.curves.marks import Mark, footnotes, marks_of, short
from setvae_cli.reports.curves.panels import STEP, Paint, guide, mark_steps, scale
from setvae_cli.reports.curves.readings import significant
from setvae_cli.reports.curves.series import Curves, Series
from setvae_cli.reports.figures import FAINT, PENS, Key, Pen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAIN, VAL = PENS[0], PENS[1]
STAGES = ("train", "val")
TERMS = (
    ("loss", "Loss", "loss"),
    ("recon", "Reconstruction", "nats a set"),
    ("kl", "KL to the prior", "nats a set"),
    ("pred", "Prediction", "nats a label"),
)
FURTHER = (
    ("forecast", "Forecast", "nats a subject"),
    ("masked", "Hidden values", "nats a value"),
    ("coles", "Contrastive", "a slice"),
)
METRICS = (("auc", "AUROC"), ("auprc", "AUPRC"), ("accuracy", "Accuracy"))
RECALL = (("recall_1", "Recall at 1"), ("recall_5", "Recall at 5"), ("recall_20", "Recall at 20"))
DYNAMICS = (
    ("Beta", "weight of KL", ("train_beta_step", "train_beta_epoch", "val_beta")),
    ("Reconstruction weight", "weight", ("train_recon_weight_step", "train_recon_weight_epoch")),
    ("Prediction weight", "weight", ("train_pred_weight_step", "train_pred_weight_epoch")),
    ("Gradient norm", "before clipping", ("train_grad_norm_step",)),
    ("Learning rate", "rate", ("lr",)),
)
_AUC_GUIDE = ((0.5, "guessing"), (0.7, "good"), (0.9, "excellent"))


@dataclass(frozen=True)
class Picture:
    """A figure as two PNG files.

    Attributes:
        name: Its file name without the suffix.
        title: What it shows.
        wide: For paper and wide screens.
        narrow: The same with its panels below one another.
    """

    name: str
    title: str
    wide: bytes
    narrow: bytes


def draw(runs: Sequence[Curves]) -> tuple[Picture, ...]:
    """Draw all figures of one run, or of several in the same panels; none without a panel."""
    drawn = runs[: figures.MOST_LINES]
    several = len(drawn) > 1
    named = [(short(run.name), pen) for run, pen in zip(drawn, PENS, strict=False) if several]
    keys, marked = ([Key(*each, mark) for each in named] for mark in (False, True))
    stages = [Key("training (thin: each logged step)", TRAIN), Key("validation", VAL, True)]
    steps = marks_of(drawn)
    made = [
        ("loss_curves", "Loss curves", _loss_panels(drawn), keys or stages),
        ("performance_metrics", "Performance on validation", _metric_panels(drawn), marked),
        ("training_dynamics", "Training dynamics", _dynamic_panels(drawn), keys),
    ]
    if panels := latent_panels(drawn):
        made.append((*PICTURE, panels, marked or latent_keys(drawn[0])))
    return tuple(
        Picture(
            name,
            title,
            _render(panels, _columns(panels), title, drawn, lines, steps),
            _render(panels, 1, title, drawn, lines, steps),
        )
        for name, title, panels, lines in made
        if panels
    )


def describe(run: Curves) -> str:
    """Counts and date of a run, in one line."""
    epochs = f", {count(run.epochs)} epoch{'s' * (run.epochs != 1)}" if run.epochs else ""
    begun = f", begun {run.begun}" if run.begun else ""
    return f"{count(run.steps)} steps{epochs}{begun}" + (", legacy log" if run.legacy else "")


def _columns(panels: Sequence[Paint]) -> int:
    return 3 if len(panels) == 3 else 2


def _render(
    panels: Sequence[Paint],
    columns: int,
    title: str,
    runs: Sequence[Curves],
    keys: Sequence[Key],
    steps: Sequence[Mark],
) -> bytes:
    parts = [f"{short(run.name)}: {describe(run)}" for run in runs[:3]]
    if len(runs) > 3:
        parts = [f"{len(runs)} runs, up to {count(max(run.steps for run in runs))} steps"]
        days = sorted(run.begun for run in runs if run.begun)
        parts += [f"begun {' to '.join(dict.fromkeys((days[0], days[-1])))}"] if days else []
    parts += footnotes(steps)
    with figures.style():
        figure, axes = figures.panels(len(panels), columns, title, " · ".join(parts), keys)
        for panel, place in zip(panels, axes, strict=True):
            panel(place)
            if place.get_xlabel() == STEP:
                mark_steps(place, steps)
        return figures.as_png(figure)


def _loss_panels(runs: Sequence[Curves]) -> list[Paint]:
    terms = _terms(runs)
    if len(runs) == 1:
        return [_single_term(runs[0], *term) for term in terms]
    found, legacy = [], any(run.legacy for run in runs)
    for word, title, unit in terms:
        if legacy:
            title, unit = (f"{title} (legacy)", unit) if word == "kl" else (title, "as logged")
        for stage, name in (("train", "training"), ("val", "validation")):
            curves = [_stage(run, stage, word) for run in runs]
            found.append(_compared(runs, f"{title}, {name}", unit, curves))
    return found


def _terms(runs: Sequence[Curves]) -> Sequence[tuple[str, str, str]]:
    """Those of every run; where an objective has others, all that some run has."""
    if not _has_others(runs):
        return TERMS
    return [term for term in (*TERMS, *FURTHER) if _is_there(runs, term[0])]


def _is_there(runs: Sequence[Curves], word: str) -> bool:
    return any(_stage(run, stage, word) is not None for run in runs for stage in STAGES)


def _has_others(runs: Sequence[Curves]) -> bool:
    """Whether an objective has terms beside those of every run."""
    return any(_is_there(runs, word) for word, _, _ in FURTHER)


def _metric_panels(runs: Sequence[Curves]) -> list[Paint]:
    """Those of labels; where slices are looked up, all that some run has."""
    words: Sequence[tuple[str, str]] = METRICS
    if any(_is_there(runs, word) for word, _ in RECALL):
        words = [each for each in (*METRICS, *RECALL) if _is_there(runs, each[0])]
    return [
        _compared(runs, title, "0 to 1", [run.get(f"val_{word}") for run in runs], metric=word)
        for word, title in words
    ]


def _dynamic_panels(runs: Sequence[Curves]) -> list[Paint]:
    """All; where an objective has other terms, those that some run has."""
    others, panels = _has_others(runs), []
    for title, unit, tags in DYNAMICS:
        series = [run.get(*tags) for run in runs]
        if not others or any(one is not None for one in series):
            panels.append(_compared(runs, title, unit, series))
    if not others or any(_paired(run) is not None for run in runs):
        panels.insert(-2, _trade_off(runs))
    return panels


def tags_of(stage: str, word: str) -> tuple[str, ...]:
    """Tags of a term in `train` or `val`, the epoch's before the step's, raw before undone."""
    if stage == "val":
        return (f"val_{word}", f"legacy/val_{word}")
    names = (f"train_{word}_epoch", f"train_{word}_step")
    return (*names, *(f"legacy/{name}" for name in names))


def _stage(run: Curves, stage: str, word: str) -> Series | None:
    """A term in `train` or `val`."""
    return run.training(word) if stage == "train" else run.get(*tags_of("val", word))


def _single_term(run: Curves, word: str, title: str, unit: str) -> Paint:
    """Training and validation of one term in one panel."""
    steps = run.get(f"train_{word}_step", f"legacy/train_{word}_step")
    main, val = run.training(word), run.get(*tags_of("val", word))

    def paint(axes: Axes) -> None:
        known = [one for one in (steps, main, val) if one is not None]
        if not known:
            figures.absent(axes, title, "not in this log")
            return
        if steps is not None:
            x, y = figures.thinned(steps.steps, steps.values)
            axes.plot(x, y, color=TRAIN.colour, alpha=0.35, linewidth=0.9)
        if main is not None:
            figures.line(axes, main.steps, main.values, TRAIN)
        if val is not None:
            figures.line(axes, val.steps, val.values, VAL, marked=True)
        figures.label(axes, title, STEP, "as logged" if run.legacy and word != "kl" else unit)
        scale(axes, known)
        if word == "kl" and run.legacy:
            axes.set_title(f"{title} (legacy)")
        if word == "kl" and run.floor:
            guide(axes, run.floor, f"floor of free bits, {significant(run.floor)}")

    return paint


def _compared(
    runs: Sequence[Curves],
    title: str,
    unit: str,
    curves: Sequence[Series | None],
    metric: str = "",
) -> Paint:
    """One curve a run in one panel."""
    found = list(zip(runs, PENS, curves, strict=False))
    known = [(run, pen, series) for run, pen, series in found if series is not None]

    def paint(axes: Axes) -> None:
        if not known:
            figures.absent(axes, title, "not in this log")
            return
        for _, pen, series in known:
            figures.line(axes, series.steps, series.values, pen, marked=bool(metric))
        figures.label(axes, title, STEP, unit)
        if metric:
            _read_metric(axes, metric, known)
        elif unit.startswith("weight"):
            axes.set_ylim(0, 1.1 * max(0.01, *(series.values.max() for *_, series in known)))
        else:
            scale(axes, [series for *_, series in known])

    return paint


def _read_metric(axes: Axes, metric: str, known: Sequence[tuple[Curves, Pen, Series]]) -> None:
    """Limits, guide lines of AUROC, and a ring around the best value of each run."""
    least = min(float(series.values.min()) for *_, series in known)
    most = max(float(series.values.max()) for *_, series in known)
    room = max(0.05, 0.15 * (most - least))
    axes.set_ylim(max(0.0, least - room), min(1.02, most + room))
    if metric == "auc":
        for value, word in _AUC_GUIDE:
            if axes.get_ylim()[0] <= value <= axes.get_ylim()[1]:
                guide(axes, value, word)
    for _, pen, series in known:
        place = int(series.values.argmax())
        x, y = series.steps[place], series.values[place]
        axes.plot([x], [y], "o", markersize=10, markerfacecolor="none", color=pen.colour)
        if len(known) == 1:
            text = f"best {y:.3f}, step {count(x)}"
            axes.set_title(text, loc="right", fontsize=9, fontweight="normal", color=FAINT)


def _trade_off(runs: Sequence[Curves]) -> Paint:
    """KL against reconstruction, from an open mark at the start to a full one at the end."""
    title = "KL against reconstruction"
    found = [(run, pen, _paired(run)) for run, pen in zip(runs, PENS, strict=False)]
    known = [(run, pen, pair) for run, pen, pair in found if pair is not None]

    def paint(axes: Axes) -> None:
        if not known:
            figures.absent(axes, title, "not in this log")
            return
        for _, pen, (recon, kl) in known:
            axes.plot(recon, kl, color=pen.colour, linestyle=pen.dash, linewidth=1.2)
            axes.plot(recon[:1], kl[:1], pen.mark, color=pen.colour, markerfacecolor="white")
            axes.plot(recon[-1:], kl[-1:], pen.mark, color=pen.colour, markersize=7)
        axes.set_title(title)
        axes.set_xlabel("reconstruction, open mark: start, full: end")
        axes.set_ylabel("KL, nats a set")

    return paint


def _paired(run: Curves) -> tuple[np.ndarray, np.ndarray] | None:
    """Reconstruction and KL at the same steps, of validation where there are enough."""
    for stage in ("val", "train"):
        recon, kl = (_stage(run, stage, word) for word in ("recon", "kl"))
        if recon is None or kl is None:
            continue
        _, left, right = np.intersect1d(recon.steps, kl.steps, return_indices=True)
        if len(left) >= 3:
            x, y = recon.values[left], kl.values[right]
            every = max(1, len(x) // 400)
            return np.append(x[:-1:every], x[-1]), np.append(y[:-1:every], y[-1])
    return None
