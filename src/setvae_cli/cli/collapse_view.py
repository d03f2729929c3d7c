"""What a person sees of the watch over posteriors: verdicts that change, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from setvae_cli.cli.advice import concrete
from setvae_cli.cli.output import WARN_STYLE, Line, Output
from setvae_cli.cli.wrapped import wrapped
from setvae_cli.errors import SetvaeError
from setvae_cli.numbers import count

if TYPE_CHECKING:
    from setvae_cli.monitor.measures import LevelMeasures
    from setvae_cli.monitor.verdict import Verdict
    from setvae_cli.settings.command import TrainSettings
    from setvae_cli.settings.model import ModelSettings
    from setvae_cli.settings.objective import ObjectiveSettings
    from setvae_cli.training.records import Checked

BAD = ("collapsed", "shrinking", "partial")
TITLES = {
    "collapsed": "Posterior collapse",
    "shrinking": "Posterior shrinking",
    "partial": "Posterior partly unused",
    "healthy": "Posterior healthy again",
}
SIGNS = {
    "collapsed": "looks collapsed",
    "shrinking": "is shrinking",
    "partial": "looks partly unused",
    "healthy": "is healthy again",
}


class CollapseView:
    """Shows looks at the posteriors of one run.

    A collapse is a table once, when validation finds it. What training batches show before that is
    one line, and so is what changes between troubles.

    Args:
        settings: Of the run, for what to try.
        output: Where it is shown.
    """

    def __init__(self, settings: TrainSettings, output: Output) -> None:
        self._model, self._objective = settings.model, settings.objective
        self._output = output
        self._told: dict[tuple[str, int], str] = {}
        self._draws = True

    def show(self, checked: Checked, pictures: Path, run: str) -> None:
        """Say what changed; draw a picture if one is due.

        Args:
            checked: The look.
            pictures: Folder of `posterior_metrics_step_<n>.png`.
            run: The run's folder, for the picture's footer.
        """
        self._objective = checked.objective
        lines = self._news(checked)
        if lines:
            self._output.end_progress()
            self._output.space()
            for line in lines:
                self._output.show(line)
        if checked.picture:
            self._draw(checked, pictures, run)

    def closing(self, verdicts: Sequence[Verdict]) -> list[Line]:
        """What stands under the closing table."""
        lines = closing_lines(verdicts, self._objective, self._model)
        for one in verdicts:
            seen = self._told.get(("train", one.level), "warming")
            if one.state == "warming" and seen in BAD:
                told = f"in training batches level {one.level} was last {seen}: validate more often"
                lines += wrapped("            ", f"{told} (--val-check-interval)")
        return lines

    def _news(self, checked: Checked) -> list[Line]:
        changes = [self._change(checked.split, one) for one in checked.verdicts]
        pairs = list(zip(changes, checked.verdicts, strict=True))
        if checked.split == "train":
            return [line for change, one in pairs if change for line in early_sign(checked, one)]
        if "table" in changes:
            return warning_table(checked, self._model)
        levels = () if checked.action is None else checked.action.levels
        told = [one for change, one in pairs if change or one.level in levels]
        return [line for one in told for line in state_line(checked, one)] + _done(checked)

    def _change(self, split: str, verdict: Verdict) -> str:
        """How a verdict is told: as a table, as a line, or not at all."""
        before, state = self._told.get((split, verdict.level), "warming"), verdict.state
        self._told[split, verdict.level] = state
        if state == before or (state not in BAD and before not in BAD) or state == "warming":
            return ""
        if split == "val":
            return "table" if state in BAD and (state == BAD[0] or before not in BAD) else "line"
        known = self._told.get(("val", verdict.level)) in BAD
        return "" if known or (before in BAD and state in BAD[1:]) else "line"

    def _draw(self, checked: Checked, folder: Path, run: str) -> None:
        """A picture is not worth a run: where none can be drawn, that is said once."""
        try:
            draw(checked, folder, run)
        except (SetvaeError, OSError, ImportError, RuntimeError, ValueError) as error:
            if self._draws:
                why = str(error) if isinstance(error, SetvaeError) else type(error).__name__
                self._output.end_progress()
                self._output.warn(f"no picture of the posterior was drawn: {why}")
            self._draws = False


def early_sign(checked: Checked, verdict: Verdict) -> list[Line]:
    """What training batches show of one level, which validation is yet to confirm."""
    told = f"level {verdict.level} {SIGNS[verdict.state]} in training batches {_where(checked)}"
    return wrapped("early sign: ", f"{told}: {verdict.figures}; validation decides")


def state_line(checked: Checked, verdict: Verdict) -> list[Line]:
    """What validation finds of one level."""
    title = TITLES[verdict.state] if verdict.changed else "Posterior still " + verdict.state
    return wrapped("", f"{title} {_where(checked)}: level {verdict.level}, {verdict.figures}")


def warning_table(checked: Checked, model: ModelSettings) -> list[Line]:
    """The table of journeys: levels, the rules that fired, what to try, what was done.

    Args:
        checked: A look whose verdicts changed.
        model: Of the run.
    """
    worst = min(checked.verdicts, key=lambda one: _severity(one.state))
    changed = [one for one in checked.verdicts if one.state in BAD]
    lines: list[Line] = [[(f"{TITLES[worst.state]} {_where(checked)}", WARN_STYLE)]]
    head = f"level  {'verdict':<10} {'active':<9} {'information':<13} {'decoder gap':<12} since"
    lines.append(head)
    levels = {level.level: level for level in checked.measures.levels}
    lines += [_row(verdict, levels[verdict.level]) for verdict in checked.verdicts]
    for rule, advice in dict.fromkeys((one.rule, one.try_next) for one in changed):
        lines += wrapped("rule: ", rule)
        said = concrete(advice, checked.objective, model)
        lines += wrapped("try:  ", said) if said else []
    return lines + _notes(checked.verdicts, checked.objective, model) + _done(checked)


def closing_lines(
    verdicts: Sequence[Verdict], objective: ObjectiveSettings, model: ModelSettings
) -> list[Line]:
    """Why a verdict is bad, or is none, and notes; usually nothing."""
    lines: list[Line] = []
    for one in verdicts:
        if one.state in BAD:
            told = f"level {one.level} {one.state} since step {count(one.since)}: {one.rule}"
            lines += wrapped("posterior   ", told)
            said = concrete(one.try_next, objective, model)
            lines += wrapped("try         ", said) if said else []
    for rule in dict.fromkeys(one.rule for one in verdicts if one.state == "warming"):
        lines += wrapped("posterior   ", f"not judged: {rule}")
    return lines + _notes(verdicts, objective, model, "note        ")


def draw(checked: Checked, folder: Path, run: str) -> None:
    """Write posterior_metrics_step_<n>.png."""
    from setvae_cli.files import atomic_write, make_folder
    from setvae_cli.monitor.files import picture_path
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
    atomic_write(picture_path(folder, checked.step), png)


def _where(checked: Checked) -> str:
    return f"at step {count(checked.step)} (epoch {checked.epoch})"


def _done(checked: Checked) -> list[Line]:
    return [] if checked.action is None else wrapped("", checked.action.words)


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


def _notes(
    verdicts: Sequence[Verdict],
    objective: ObjectiveSettings,
    model: ModelSettings,
    head: str = "note: ",
) -> list[Line]:
    lines: list[Line] = []
    for verdict in verdicts:
        for note in verdict.notes:
            said = concrete(note.try_next, objective, model)
            advice = f" ({said})" if said else ""
            which = f"level {verdict.level} " if len(verdicts) > 1 else ""
            lines += wrapped(head, f"{which}{note.name}: {note.rule}{advice}")
    return lines
