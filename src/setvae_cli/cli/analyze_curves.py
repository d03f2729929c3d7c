"""`setvae analyze-curves`: what the curves of runs show, drawn, judged and written."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from setvae_cli.cli import options
from setvae_cli.cli.output import HEAD_STYLE, KEY_STYLE, WARN_STYLE, Line, Output
from setvae_cli.cli.precompute import shown
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.files import share_with_group
from setvae_cli.settings.command import AnalyzeCurvesSettings

if TYPE_CHECKING:
    from setvae_cli.reports.curves.diagnosis import Diagnosis
    from setvae_cli.reports.curves.text import Judged

WIDTH, NAME_WIDTH, RULE_WIDTH = 80, 31, 21
STYLES = {"found": WARN_STYLE, "clear": None, "unknown": None}


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, AnalyzeCurvesSettings, run)


def run(settings: AnalyzeCurvesSettings, output: Output) -> None:
    """Draw and judge the curves of runs, ours and TensorBoard logs of the original.

    LOG_DIR is a run, a folder of event files, or a folder of such: each run below it is analysed by
    itself, or with --compare all of them in the same figures. Files go into the run's report/curves
    folder, and for logs of others into LOG_DIR/analysis.
    """
    named = _named(settings)
    share_with_group(settings.group_readable)
    output.progress("reading logs", None, "")
    from setvae_cli.reports.curves.read import find_runs

    folders = [folder for path in named for folder in find_runs(path)] or [
        _latest(settings.output_dir, output)
    ]
    judged = _read(list(dict.fromkeys(folders)), output)
    if settings.compare and len(judged) < 2:
        raise SettingsError("needs two runs or more", where="--compare", mend="name another run")
    groups = _groups(judged, settings, named)
    data, lines = [], []
    for folder, together in groups.items():
        files = _write(folder, [judged[path] for path in together], output)
        results = [judged[path] for path in together]
        data.append(plain(results, files))
        lines += [*table(results, files), ""]
    output.result(lines[:-1], {"analyses": data})


def _named(settings: AnalyzeCurvesSettings) -> list[Path]:
    if settings.logs and settings.log_dir:
        raise SettingsError("is given beside LOG_DIR", where="--log-dir", mend="keep one")
    return [Path(each) for each in (*settings.log_dir, *filter(None, [settings.logs]))]


def _latest(output_dir: Path, output: Output) -> Path:
    from setvae_cli.runs.folder import latest

    run = latest(output_dir)
    if run is None:
        mend = "name a folder of logs, or see setvae analyze-curves --help"
        raise InputError("holds no run", where=str(output_dir), mend=mend)
    output.facts([("run", f"{shown(run.path)} (the latest)")])
    return run.path


def _read(folders: Sequence[Path], output: Output) -> dict[Path, Judged]:
    """Every run that has curves; those without are named, unless none has any.

    Raises:
        InputError: No run has curves.
    """
    from setvae_cli.reports.curves.read import read_run
    from setvae_cli.reports.curves.text import judge

    found: dict[Path, Judged] = {}
    refused: list[InputError] = []
    for done, folder in enumerate(folders):
        output.progress("reading logs", done / len(folders), "")
        try:
            curves = read_run(folder)
        except InputError as error:
            refused.append(error)
            continue
        names = {judged.run.name for judged in found.values()}
        found[folder] = judge(replace(curves, name=_distinct(curves.name, names)))
    if not found:
        raise refused[0]
    for left_out in refused:
        output.warn(f"{left_out}; left out")
    _warn_of_notes(found.values(), output)
    return found


def _warn_of_notes(runs: Iterable[Judged], output: Output) -> None:
    """Say each note once, with the runs that it is about."""
    names: dict[str, list[str]] = {}
    for judged in runs:
        for note in judged.run.notes:
            names.setdefault(note, []).append(judged.run.name)
    for note, (first, *others) in names.items():
        more = f" and {len(others)} more" if others else ""
        output.warn(f"{first}{more}: {note}")


def _distinct(name: str, taken: set[str]) -> str:
    numbered = (f"{name} ({number})" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each not in taken)


def _groups(
    judged: Mapping[Path, Judged], settings: AnalyzeCurvesSettings, named: Sequence[Path]
) -> dict[Path, list[Path]]:
    """What is drawn together, by the folder it is written to."""
    paths = list(judged)
    if settings.compare:
        return {settings.save_dir or _beside(named, paths): paths}
    if settings.save_dir is None:
        return {_own(path): [path] for path in paths}
    if len(paths) == 1:
        return {settings.save_dir: paths}
    return {settings.save_dir / judged[path].run.name.replace("/", "_"): [path] for path in paths}


def _own(path: Path) -> Path:
    """Where the analysis of one run goes."""
    from setvae_cli.runs.folder import RunFolder

    run = RunFolder(path)
    return run.report / "curves" if run.settings.is_file() else path / "analysis"


def _beside(named: Sequence[Path], paths: Sequence[Path]) -> Path:
    """Where a comparison goes: into the folder that was named, or that holds all runs."""
    if len(named) == 1:
        return named[0] / "analysis"
    common = Path(os.path.commonpath([path.absolute() for path in paths]))
    if common == Path(common.anchor):
        mend = "name a folder with --save-dir"
        raise SettingsError("the runs lie in no folder together", where="--compare", mend=mend)
    return common / "analysis"


def _write(folder: Path, together: Sequence[Judged], output: Output) -> tuple[Path, ...]:
    output.progress("drawing", None, "")
    from setvae_cli.reports.curves.write import write
    from setvae_cli.reports.figures import MOST_LINES

    if len(together) > MOST_LINES:
        output.warn(
            f"{len(together)} runs are more than one figure can tell apart: the first {MOST_LINES} "
            "are drawn, all are judged and written to curves.parquet"
        )
    return write(folder, together)


def table(together: Sequence[Judged], files: Sequence[Path]) -> list[Line]:
    """What was found, run by run, and where it was written."""
    lines: list[Line] = []
    for judged in together:
        lines += [[("Curves", HEAD_STYLE), (f"  {judged.run.name}", None)]]
        lines += [*_figure_lines(judged), ""]
        for one in judged.diagnoses:
            lines += _diagnosis_lines(one)
        lines.append("")
    return [*lines, [("report  ", KEY_STYLE), (shown(files[-1]), None)]]


def _figure_lines(judged: Judged) -> list[Line]:
    from setvae_cli.reports.curves.text import figures_of

    lines: list[Line] = []
    for name, value, reading in figures_of(judged):
        text = f"{value}, {reading}" if reading else value
        first, *rest = textwrap.wrap(text, WIDTH - NAME_WIDTH)
        lines.append([(f"{name:<{NAME_WIDTH}}", KEY_STYLE), (first, None)])
        lines += [" " * NAME_WIDTH + more for more in rest]
    return lines


def _diagnosis_lines(one: Diagnosis) -> list[Line]:
    """A diagnosis, and what to try where it found something."""
    width = WIDTH - NAME_WIDTH
    mend = f"-> {one.mend}" if one.mend else ""
    first, *rest = textwrap.wrap(one.finding, width, break_on_hyphens=False)
    rest += textwrap.wrap(mend, width, subsequent_indent="   ", break_on_hyphens=False)
    head = [
        (f"{one.name:<{RULE_WIDTH}}", KEY_STYLE),
        (f"{one.state:<{NAME_WIDTH - RULE_WIDTH}}", STYLES[one.state]),
        (first, None),
    ]
    return [head, *(" " * NAME_WIDTH + more for more in rest)]


def plain(together: Sequence[Judged], files: Sequence[Path]) -> dict[str, Any]:
    """The same for --json."""
    return {
        "runs": [
            {
                "name": judged.run.name,
                "steps": judged.run.steps,
                "epochs": judged.run.epochs,
                "legacy": judged.run.legacy,
                "notes": list(judged.run.notes),
                "summary": asdict(judged.summary),
                "events": [asdict(event) for event in judged.run.events],
                "diagnoses": [asdict(one) for one in judged.diagnoses],
            }
            for judged in together
        ],
        "files": [shown(path) for path in files],
    }
