"""collapse_analysis.txt: what the curves come to, as plain lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from setvae_cli.numbers import count
from setvae_cli.reports.curves import readings
from setvae_cli.reports.curves.diagnosis import Diagnosis
from setvae_cli.reports.curves.draw import describe
from setvae_cli.reports.curves.levels import level_rows
from setvae_cli.reports.curves.readings import significant
from setvae_cli.reports.curves.rules import diagnose
from setvae_cli.reports.curves.series import Curves
from setvae_cli.reports.curves.summary import LAST_STEPS, Best, Kl, Summary, summarise
from setvae_cli.reports.curves.told import Event, Verdict

WIDTH = 80
CAVEAT = (
    "Curves show a collapse where KL is gone. Whether a posterior with a KL carries information "
    "and is used, only the latents themselves can tell."
)


@dataclass(frozen=True)
class Judged:
    """A run with what was read off its curves.

    Attributes:
        run: The curves.
        summary: Their ends, averages and best values.
        diagnoses: What every rule says of them.
    """

    run: Curves
    summary: Summary
    diagnoses: tuple[Diagnosis, ...]


def judge(run: Curves) -> Judged:
    """Summarise and diagnose a run."""
    return Judged(run, summarise(run), diagnose(run))


def as_text(runs: Sequence[Judged]) -> str:
    """The whole file, in lines of at most 80 letters."""
    parts = ["Posterior collapse analysis", "=" * 27, ""]
    for judged in runs:
        parts += [*_run_lines(judged), ""]
    parts += ["How to read it", "-" * 14]
    for sentence in (CAVEAT, *readings.GUIDE):
        parts += textwrap.wrap(sentence, WIDTH, initial_indent="- ", subsequent_indent="  ")
    return "\n".join(parts) + "\n"


def figures_of(judged: Judged) -> list[tuple[str, str, str]]:
    """Name, value and reading of every figure of a summary."""
    summary = judged.summary
    rows = _kl_rows(summary.kl, judged.run.floor) if summary.kl else []
    rows += level_rows(judged.run)
    named = (
        ("AUC", summary.auc),
        ("AUPRC", summary.auprc),
        ("accuracy", summary.accuracy),
        ("recall at 1", summary.recall),
    )
    for name, found in named:
        if found is not None:
            rows += _best_rows(name, found, readings.of_auc(found.best) if name == "AUC" else "")
    if summary.val_loss is not None:
        best = summary.val_loss
        value = f"{significant(best.best)} (step {count(best.best_step)})"
        rows.append(("Lowest validation loss", value, ""))
    return rows


def _run_lines(judged: Judged) -> list[str]:
    run = judged.run
    lines = [run.name, "-" * len(run.name), describe(run)]
    for note in run.notes:
        lines += textwrap.wrap(f"Note: {note}.", WIDTH, subsequent_indent="      ")
    lines.append("")
    for name, value, reading in figures_of(judged):
        lines.append(f"{name}: {value}" + (f", {reading}" if reading else ""))
    lines.append("")
    for one in judged.diagnoses:
        lines += _diagnosis_lines(one)
    if run.events:
        lines += ["", "What the monitor said, and what was done", ""]
    for event in run.events:
        told = f"step {count(event.step)}: {event_words(event)}"
        lines += textwrap.wrap(told, WIDTH, subsequent_indent=" " * 8, break_on_hyphens=False)
    return lines


def event_words(event: Event) -> str:
    """What happened at a step, one clause."""
    if isinstance(event, Verdict):
        where = "" if event.split == "val" else ", in training batches"
        return f"{event.words}{where}"
    return event.words


def _diagnosis_lines(one: Diagnosis) -> list[str]:
    text = f"{one.state:<8}{one.name}: {one.finding}"
    lines = textwrap.wrap(text, WIDTH, subsequent_indent=" " * 8, break_on_hyphens=False)
    rest = {"rule": one.rule, "try": one.mend} if one.state == "found" else {}
    for word, told in rest.items():
        start = f"{'':8}{word}: "
        wrapped = textwrap.wrap(
            told, WIDTH, initial_indent=start, subsequent_indent=" " * 14, break_on_hyphens=False
        )
        lines += wrapped
    return lines


def _kl_rows(kl: Kl, floor: float | None) -> list[tuple[str, str, str]]:
    change = "" if kl.change is None else f" {kl.change:+.1f} %"
    ends = f"(from {significant(kl.before)} to {significant(kl.after)} in the last quarter)"
    final = f"{significant(kl.final)} nats a set (step {count(kl.step)})"
    average = f"{significant(kl.average)} nats a set"
    beside = f", floor of free bits {significant(floor)}" if floor else ""
    return [
        ("Final KL divergence", final, ""),
        (f"Average of the last {LAST_STEPS} steps", average, readings.of_kl(kl.average) + beside),
        ("Trend", f"{kl.trend}{change} {ends}", ""),
    ]


def _best_rows(name: str, found: Best, reading: str) -> list[tuple[str, str, str]]:
    best = f"{found.best:.4f} (step {count(found.best_step)})"
    final = f"{found.final:.4f} (step {count(found.final_step)})"
    return [
        (f"Best validation {name}", best, reading),
        (f"Final validation {name}", final, ""),
    ]
