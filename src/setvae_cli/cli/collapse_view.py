"""What a person sees of the watch over posteriors: a table when a verdict changes, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from setvae_cli.cli.output import HEAD_STYLE, WARN_STYLE, Line, Output
from setvae_cli.cli.wrapped import wrapped
from setvae_cli.numbers import count

if TYPE_CHECKING:
    from setvae_cli.monitor.measures import LevelMeasures
    from setvae_cli.monitor.verdict import Verdict
    from setvae_cli.settings.objective import ObjectiveSettings
    from setvae_cli.training.records import Checked

BAD = ("collapsed", "shrinking", "partial")
TITLES = {
    "collapsed": "Posterior collapse",
    "shrinking": "Posterior shrinking",
    "partial": "Posterior partly unused",
    "healthy": "Posterior healthy again",
}


class CollapseView:
    """Shows looks at the posteriors of one run.

    Args:
        objective: What the run began with, for what to try.
        output: Where tables go.
    """

    def __init__(self, objective: ObjectiveSettings, output: Output) -> None:
        self._objective, self._output = objective, output
        self._told: dict[tuple[str, int], str] = {}

    def show(self, checked: Checked, pictures: Path, run: str) -> None:
        """Print a table if a verdict changed; draw a picture if one is due.

        Args:
            checked: The look.
            pictures: Folder of `posterior_metrics_step_<n>.png`.
            run: The run's folder, for the picture's footer.
        """
        if self._is_news(checked):
            self._output.end_progress()
            self._output.say()
            for line in warning_table(checked, self._objective):
                self._output.show(line)
            self._output.say()
        if checked.picture:
            draw(checked, pictures, run)

    def _is_news(self, checked: Checked) -> bool:
        news = False
        for verdict in checked.verdicts:
            key = (checked.split, verdict.level)
            before, state = self._told.get(key, "warming"), verdict.state
            decided = self._told.get(("val", verdict.level))
            self._told[key] = state
            if state != before and (state in BAD or before in BAD) and state != "warming":
                news |= checked.split == "val" or decided != state
        return news


def warning_table(checked: Checked, objective: ObjectiveSettings) -> list[Line]:
    """The table of journeys: levels, the rules that fired, what to try, what was done.

    Args:
        checked: A look whose verdicts changed.
        objective: Of the run, whose values what to try starts from.
    """
    worst = min(checked.verdicts, key=lambda one: _severity(one.state))
    changed = [one for one in checked.verdicts if one.state in BAD]
    where = f"at step {count(checked.step)} (epoch {checked.epoch})"
    seen = "" if checked.split == "val" else " in training batches"
    style = WARN_STYLE if worst.state in BAD else HEAD_STYLE
    lines: list[Line] = [[(f"{TITLES[worst.state]}{seen} {where}", style)]]
    head = f"level  {'verdict':<10} {'active':<9} {'information':<13} {'decoder gap':<12} since"
    lines.append(head)
    levels = {level.level: level for level in checked.measures.levels}
    lines += [_row(verdict, levels[verdict.level]) for verdict in checked.verdicts]
    for rule, advice in dict.fromkeys((one.rule, one.try_next) for one in changed):
        lines += wrapped("rule: ", rule)
        lines += wrapped("try:  ", concrete(advice, objective)) if advice else []
    lines += _notes(checked.verdicts)
    if checked.action is not None:
        lines += wrapped("", checked.action.words)
    elif checked.split == "train" and changed:
        lines.append("Validation decides; nothing was changed.")
    return lines


def closing_lines(verdicts: Sequence[Verdict], objective: ObjectiveSettings) -> list[Line]:
    """What stands under the closing table: a bad verdict's rule, and notes; usually nothing."""
    lines: list[Line] = []
    for one in verdicts:
        if one.state in BAD:
            told = f"level {one.level} {one.state} since step {count(one.since)}: {one.rule}"
            lines += wrapped("posterior   ", told)
            lines += wrapped("try         ", concrete(one.try_next, objective))
    return lines + _notes(verdicts, "note        ")


def concrete(advice: str, objective: ObjectiveSettings) -> str:
    """What to try, with values that follow from the run's own."""
    beta, bits = objective.max_beta, objective.free_bits
    return (
        advice.replace("lower --max-beta", f"--max-beta {beta / 2:g}")
        .replace("higher --max-beta", f"--max-beta {2 * beta:g}")
        .replace("--free-bits 0.25", f"--free-bits {max(0.25, 2 * bits):g}")
        .replace("--free-bits 0.1", f"--free-bits {max(0.1, 2 * bits):g}")
    )


def draw(checked: Checked, folder: Path, run: str) -> None:
    """Write posterior_metrics_step_<n>.png."""
    from setvae_cli.files import atomic_write, make_folder
    from setvae_cli.reports.posterior import posterior_figure

    split = "validation" if checked.split == "val" else "training batches"
    sets = count(checked.measures.levels[0].sets)
    png = posterior_figure(
        checked.measures,
        title=f"Posterior at step {count(checked.step)}, {split}",
        footer=f"{run} · epoch {checked.epoch} · {sets} sets",
        verdicts=checked.verdicts,
    )
    make_folder(folder)
    atomic_write(folder / f"posterior_metrics_step_{checked.step}.png", png)


def _severity(state: str) -> int:
    return BAD.index(state) if state in BAD else len(BAD)


def _row(verdict: Verdict, level: LevelMeasures) -> str:
    active = f"{level.active} / {level.latent}"
    bound = level.information
    information = "n/a" if bound is None else f"<= {max(bound.high, 0):.2f} nat"
    gap = "not measured" if level.decoder_gap is None else f"{level.decoder_gap.cost.value:.2f}"
    since = count(verdict.since)
    return (
        f"  {verdict.level:<5}{verdict.state:<10} {active:<9} {information:<13} {gap:<12} {since}"
    )


def _notes(verdicts: Sequence[Verdict], head: str = "note: ") -> list[Line]:
    lines: list[Line] = []
    for verdict in verdicts:
        for note in verdict.notes:
            advice = f" ({note.try_next})" if note.try_next else ""
            which = f"level {verdict.level} " if len(verdicts) > 1 else ""
            lines += wrapped(head, f"{which}{note.name}: {note.rule}{advice}")
    return lines
