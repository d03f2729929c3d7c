"""`setvae doctor`: what is wrong with this machine, or with something that setvae wrote."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from setvae_cli.cli import options
from setvae_cli.cli.leftovers import LAUNCHER
from setvae_cli.cli.output import HEAD_STYLE, KEY_STYLE, WARN_STYLE, Line, Output
from setvae_cli.cli.precompute import shown
from setvae_cli.settings.command import DoctorSettings

if TYPE_CHECKING:
    from setvae_cli.reports.doctor.finding import Finding, Section

WIDTH, STATE_WIDTH, GAP = 80, 5, "  "


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, DoctorSettings, run)


def run(settings: DoctorSettings, output: Output) -> None:
    """Check this machine, or something that setvae wrote.

    Without PATH: versions, devices, precisions, disk, shared memory, limits and variables. PATH is
    verified to its last byte, and nothing in it is run. The exit code is 1 when something is wrong;
    warnings leave it at 0.
    """
    if settings.path is None:
        sections = _machine(settings.output_dir, output)
    else:
        sections = (_artefact(Path(settings.path), output),)
    output.result(table(sections, settings.path), plain(sections, settings.path))
    if count(sections, "wrong"):
        raise typer.Exit(1)


def _machine(output_dir: Path, output: Output) -> tuple[Section, ...]:
    output.progress("asking the machine", None, "")
    from setvae_cli.reports.doctor.devices import devices
    from setvae_cli.reports.doctor.packages import versions
    from setvae_cli.reports.doctor.system import system

    return versions(), devices(), system(output_dir, os.environ, LAUNCHER)


def _artefact(path: Path, output: Output) -> Section:
    output.progress("opening", None, "")
    from setvae_cli.reports.doctor.model_file import examine_checkpoint, examine_exported
    from setvae_cli.reports.doctor.recognise import recognise
    from setvae_cli.reports.doctor.run import examine_run
    from setvae_cli.reports.doctor.store import examine_store

    def sink(doing: str, share: float) -> None:
        output.progress(doing, share, "")

    match recognise(path):
        case "store":
            return examine_store(path, sink)
        case "run":
            return examine_run(path, sink)
        case "checkpoint":
            return examine_checkpoint(path)
        case "exported":
            return examine_exported(path)


def table(sections: Sequence[Section], path: str | None) -> list[Line]:
    """Every finding by section, and below them how many are not ok.

    Args:
        sections: What was found.
        path: What was examined; None for this machine.
    """
    findings = [finding for section in sections for finding in section.findings]
    name_width = max(len(finding.name) for finding in findings)
    most = WIDTH - name_width - STATE_WIDTH - 2 * len(GAP)
    value_width = min(most, max(len(finding.value) for finding in findings))
    lines: list[Line] = []
    for section in sections:
        lines += [[(section.title, HEAD_STYLE), (f"  {named(path)}" if path else "", None)]]
        for finding in section.findings:
            lines += _rows(finding, name_width, value_width)
        lines.append("")
    return [*lines, _verdict(sections)]


def _rows(finding: Finding, name_width: int, value_width: int) -> list[Line]:
    """A finding: its value, wrapped, with the state beside its first line, and the mend below."""
    first, *rest = textwrap.wrap(finding.value, value_width, break_on_hyphens=False) or [""]
    style = None if finding.state == "ok" else WARN_STYLE
    indent = " " * name_width + GAP
    mend = f"-> {finding.mend}" if finding.mend else ""
    below = [*rest, *textwrap.wrap(mend, WIDTH - len(indent), subsequent_indent="   ")]
    head = [
        (f"{finding.name:<{name_width}}{GAP}", KEY_STYLE),
        (f"{first:<{value_width}}{GAP}", None),
        (finding.state, style),
    ]
    return [head, *(f"{indent}{line}" for line in below)]


def _verdict(sections: Sequence[Section]) -> Line:
    bad, warned = count(sections, "wrong"), count(sections, "warn")
    warnings = "1 warning" if warned == 1 else f"{warned or 'no'} warnings"
    if bad:
        things = "1 thing is" if bad == 1 else f"{bad} things are"
        return [(f"{things} wrong, {warnings}", WARN_STYLE)]
    return f"nothing is wrong, {warnings}"


def count(sections: Sequence[Section], state: str) -> int:
    """How many findings are in a state."""
    return sum(finding.state == state for section in sections for finding in section.findings)


def plain(sections: Sequence[Section], path: str | None) -> dict[str, Any]:
    """The same for --json."""
    return {
        "path": named(path) if path else None,
        "findings": [
            {"section": section.title, **asdict(finding)}
            for section in sections
            for finding in section.findings
        ],
        "wrong": count(sections, "wrong"),
        "warnings": count(sections, "warn"),
    }


def named(path: str) -> str:
    """A path as a report may name it, which people pass on: without the name of their home."""
    short, home = shown(Path(path)), os.path.expanduser("~")
    return f"~{short.removeprefix(home)}" if short.startswith(f"{home}/") else short
