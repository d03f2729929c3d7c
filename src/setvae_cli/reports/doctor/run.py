"""A run's folder: what describes it, its logs, and every checkpoint."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from setvae_cli import numbers
from setvae_cli.errors import InputError, SetvaeError
from setvae_cli.reports import events
from setvae_cli.reports.doctor.finding import Finding, Section, Sink, wrong
from setvae_cli.reports.doctor.leftovers import orphans
from setvae_cli.reports.doctor.model_file import place, verified
from setvae_cli.runs import metrics_log
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.lock import is_locked
from setvae_cli.runs.manifest import read_manifest
from setvae_cli.runs.resume import choose
from setvae_cli.runs.settings_file import read_settings
from setvae_cli.settings.command import TrainSettings, settings_of_run

BACK = "put it back from a copy; checkpoints hold the settings too"
PASSED = "setvae resume puts it aside"


def examine_run(path: Path, sink: Sink) -> Section:
    """Verify a run, all of it.

    Args:
        path: The folder.
        sink: Told what is being done, and the share of it that is done.
    """
    run = RunFolder(path)
    settings, findings = _settings(run)
    if settings is not None:
        run = RunFolder(path, settings.run.log_dir)
    busy = _is_busy(run)
    findings += [_manifest(run), _training(busy), _metrics(run, busy=busy), *_events(run, busy)]
    findings += _checkpoints(run, sink)
    findings += [_resume(run), orphans(path, run.checkpoints, busy=busy)]
    return Section("Run", tuple(findings))


def _settings(run: RunFolder) -> tuple[TrainSettings | None, list[Finding]]:
    try:
        settings = settings_of_run(read_settings(run.settings))
    except SetvaeError as error:
        return None, [wrong("settings", error, BACK)]
    except ValidationError as error:
        name = str(error.errors(include_input=False)[0]["loc"][-1])
        return None, [Finding("settings", f"{name} is none of this setvae", "wrong", BACK)]
    value = f"preset {settings.model.preset}, seed {settings.run.seed}"
    return settings, [Finding("settings", value)]


def _manifest(run: RunFolder) -> Finding:
    try:
        manifest = read_manifest(run.manifest)
    except InputError as error:
        return wrong("manifest", error, "put it back from a copy")
    shown = [("setvae", manifest.versions.get("setvae-cli"))]
    shown.append(("torch", manifest.versions.get("torch")))
    named = [f"{name} {version}" for name, version in shown if version]
    began = manifest.started.partition("T")[0]
    return Finding("manifest", ", ".join([f"begun {began}", *named]))


def _is_busy(run: RunFolder) -> bool:
    """Whether a process is training there; nobody does where nothing can be written."""
    with suppress(OSError):
        return is_locked(run)
    return False


def _training(busy: bool) -> Finding:
    return Finding("training", "a process is at it now" if busy else "no process is at it")


def _metrics(run: RunFolder, *, busy: bool) -> Finding:
    try:
        contents = metrics_log.read(run.metrics)
    except InputError as error:
        return Finding("metrics", error.what, "warn", "start or resume the run to have one made")
    steps = [record["step"] for record in contents.records if "step" in record]
    value = f"{numbers.count(len(contents.records))} records"
    value += f" up to step {numbers.count(max(steps))}" if steps else ""
    if not contents.lost_bytes or busy:
        return Finding("metrics", value)
    lost = f"{value}, then {numbers.size(contents.lost_bytes)} unreadable"
    return Finding("metrics", lost, "warn", "a resume cuts them off")


def _events(run: RunFolder, busy: bool) -> list[Finding]:
    files = sorted(run.logs.glob("events.out.tfevents.*"))
    if not files:
        mend = "look in the --log-dir of the run, if it had one"
        return [Finding("event files", "none", "warn", mend)]
    try:
        walked = [events.read(file) for file in files]
    except InputError as error:
        return [wrong("event files", error, "metrics.jsonl holds the same scalars")]
    records = numbers.count(sum(one.records for one in walked))
    word = "file" if len(files) == 1 else "files"
    lost = sum(one.lost_bytes + one.unfinished_bytes for one in walked)
    value = f"{len(files)} {word}, {records} records"
    if not lost or busy:
        return [Finding("event files", value)]
    value += f", and {numbers.size(lost)} unreadable"
    return [Finding("event files", value, "warn", "metrics.jsonl holds the same scalars")]


def _checkpoints(run: RunFolder, sink: Sink) -> list[Finding]:
    files = sorted(run.checkpoints.glob("*.ckpt"), key=_order)
    findings = []
    for done, path in enumerate(files, start=1):
        finding = _checkpoint(path)
        if path.exists():  # whoever trains in the run removes old ones
            findings.append(finding)
        sink("verifying checkpoints", done / len(files))
    return findings


def _order(path: Path) -> tuple[int, str]:
    """The newest two first, then those with a step in their names."""
    return ("last.ckpt", "previous.ckpt", path.name).index(path.name), path.name


def _checkpoint(path: Path) -> Finding:
    name = path.stem.partition("_")[0]
    try:
        return Finding(name, place(verified(path)))
    except InputError as error:
        return Finding(name, f"{path.name} {error.what}", "wrong", PASSED)


def _resume(run: RunFolder) -> Finding:
    try:
        content = choose(run.path).content
    except InputError as error:
        what = error.what.partition(" (")[0]
        return Finding("resume", what, "wrong" if run.all_checkpoints() else "warn", error.mend)
    return Finding("resume", f"would go on from {content.path.name}")
