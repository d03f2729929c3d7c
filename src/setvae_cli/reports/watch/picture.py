"""The picture of one run for a terminal of any size: what matters first is kept longest.

head        name and state, step, epoch, speed, time left, newest figures
notes       what is wrong with the log, and how to go on
test        figures of the test split, once it was measured
posterior   a line a level
warnings    newest first
curves      charts where there is room, else a line a curve
"""

from __future__ import annotations

from setvae_cli import numbers
from setvae_cli.reports.watch.curves import curves_block
from setvae_cli.reports.watch.lines import (
    GAP,
    HEAD,
    KEY,
    WARN,
    Line,
    Part,
    beside,
    clipped,
    flowed,
    printable,
    wrapped,
)
from setvae_cli.reports.watch.plot import figure
from setvae_cli.reports.watch.posterior import posterior_block
from setvae_cli.reports.watch.run import Look
from setvae_cli.reports.watch.warned import warnings_block

WIDE = 120  # columns from which blocks stand side by side
MOST_WARNED = 6  # lines of warnings where rows are counted
_STYLES = {
    "running": HEAD, "measuring": HEAD, "finished": HEAD, "waiting": None,
    "silent": WARN, "unclear": WARN, "interrupted": WARN, "error": WARN,
    "stopped": WARN,
}  # fmt: skip


def picture(look: Look, columns: int, rows: int | None = None) -> list[Line]:
    """The run as it stands.

    Args:
        look: The run.
        columns: Width; no line is longer.
        rows: Height; None for all that there is.
    """
    lines = head(look, columns)
    wide = columns >= WIDE
    lines += _told(look, columns, None if rows is None else MOST_WARNED, wide=wide)
    room = None if rows is None else rows - len(lines) - 1
    curves = curves_block(look.course, columns, room, wide=wide)
    if curves:
        lines += [[], *curves]
    return [clipped(printable(line), columns) for line in lines[:rows]]


def head(look: Look, columns: int) -> list[Line]:
    """Name, state, progress, speed and newest figures."""
    state = look.state
    if look.reading is not None:  # what was read so far does not tell how the run stands
        reading: Part = (f"reading the log, {look.reading:.0%}", None)
        return flowed([[(look.name, HEAD)], [reading]], columns)
    lines = flowed([[(look.name, HEAD)], [(state.told, _STYLES[state.word])]], columns)
    if look.course.records:
        lines += flowed(_progress(look) + _newest(look), columns)
    for note in look.notes:
        lines += wrapped(("note  ", WARN), note, columns)
    if state.word in ("interrupted", "error"):
        lines += wrapped(("go on with  ", KEY), f"setvae resume {look.name}", columns)
    if look.course.test:
        lines += [[], *_test(look.course.test, columns)]
    return lines


def _progress(look: Look) -> list[list[Part]]:
    course = look.course
    share = course.step / course.planned_steps if course.planned_steps else None
    facts = [_of("step", course.step, course.planned_steps)]
    if share is not None:
        facts[0] += [(f"  {numbers.percent(min(share, 1.0))}", None)]
    facts.append(_of("epoch", course.epoch, course.planned_epochs))
    if course.seconds is not None:
        facts.append(_fact("ran", numbers.clock(course.seconds)))
    if look.seconds_left is not None:
        facts.append(_fact("left", numbers.clock(look.seconds_left)))
    pace = course.pace
    if pace is not None:
        facts.append([(f"{figure(pace.steps_a_second)} steps/s", None)])
        if pace.elements_a_second is not None:
            facts.append([(f"{numbers.count(pace.elements_a_second)} elements/s", None)])
    return facts


def _newest(look: Look) -> list[list[Part]]:
    course, facts = look.course, []
    for tag, name in (
        ("train_loss_step", "loss"), ("val_loss", "val loss"), ("val_auprc", "val AUPRC"),
        ("val_auc", "val AUC"),
    ):  # fmt: skip
        if tag in course.latest:
            facts.append(_fact(name, figure(course.latest[tag])))
    best = course.series["val_auc"].highest if "val_auc" in course.series else None
    if best is not None:
        told = f"  (best {figure(best[0])} at step {numbers.count(best[1])})"
        facts[-1] = [*facts[-1], (told, None)]
    return facts


def _test(test: dict[str, float], columns: int) -> list[Line]:
    named = {"auc": "AUROC", "auprc": "AUPRC", "accuracy": "accuracy", "loss": "loss", "kl": "KL"}
    facts: list[list[Part]] = [[("Test split", HEAD)]]
    for tag, value in test.items():
        word, _, task = tag.partition("_")
        if word in ("auc", "auprc", "accuracy"):
            facts.append(_fact(f"{named[word]} {task}".rstrip(), f"{value:.3f}"))
        elif tag in ("loss", "kl"):
            facts.append(_fact(named[tag], figure(value) + (" nats" if tag == "kl" else "")))
    return flowed(facts, columns)


def _told(look: Look, columns: int, most: int | None, *, wide: bool) -> list[Line]:
    """Posterior and warnings, side by side where there are both and room for it."""
    course = look.course
    each = (columns - GAP) // 2 if wide and course.notices.all else columns
    posterior = posterior_block(course, each, ended=look.state.ended)
    warnings = warnings_block(course.notices.all, each, most)
    if wide and posterior and warnings:
        return [[], *beside(posterior, warnings, columns)]
    return [line for block in (posterior, warnings) if block for line in ([], *block)]


def _fact(name: str, value: str) -> list[Part]:
    return [(f"{name} ", KEY), (value, None)]


def _of(name: str, done: int, planned: int | None) -> list[Part]:
    value = numbers.count(done)
    return _fact(name, value if planned is None else f"{value} / {numbers.count(planned)}")
