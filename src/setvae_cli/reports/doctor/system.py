"""What the system grants a run: disk, shared memory, limits, variables."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from setvae_cli import numbers
from setvae_cli.errors import SettingsError
from setvae_cli.reports.doctor.finding import Finding, Section
from setvae_cli.settings.command import COMMANDS
from setvae_cli.settings.merge import PREFIX, merge

LITTLE_DISK = 10**9  # bytes
SHARED_A_WORKER = 64 << 20  # bytes: batches in flight between a worker and the trainer
FEW_FILES = 1024
MORE_FILES = 4096
PRIVATE = 0o077


def system(output_dir: Path, environment: Mapping[str, str], launcher: Iterable[str]) -> Section:
    """Everything outside Python that a run needs.

    Args:
        output_dir: Where runs go.
        environment: Variables of this process.
        launcher: Names of variables that a launcher of several processes sets.
    """
    findings = (
        disk(output_dir),
        shared_memory(Path("/dev/shm"), len(os.sched_getaffinity(0))),  # noqa: S108
        open_files(*resource.getrlimit(resource.RLIMIT_NOFILE)),
        core_dumps(resource.getrlimit(resource.RLIMIT_CORE)[0]),
        umask(),
        launched(environment, launcher),
        *variables(environment),
    )
    return Section("System", findings)


def disk(output_dir: Path) -> Finding:
    """Space where runs go, and whether they may be written there."""
    place = next((p for p in (output_dir, *output_dir.absolute().parents) if p.exists()), Path("/"))
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Finding("disk", "runs cannot be written", "wrong", "name another --output-dir")
    free = shutil.disk_usage(place).free
    value = f"{numbers.size(free)} free for runs"
    if free < LITTLE_DISK:
        return Finding("disk", value, "warn", "free some space, or name another --output-dir")
    return Finding("disk", value)


def shared_memory(place: Path, workers: int) -> Finding:
    """Space through which loader processes hand over batches.

    Args:
        place: Where the system keeps it.
        workers: Loader processes that it should be enough for.
    """
    if not place.is_dir():
        return Finding("shared memory", "as much as there is memory")
    usage = shutil.disk_usage(place)
    value = f"{numbers.size(usage.free)} free of {numbers.size(usage.total)}"
    if usage.free < workers * SHARED_A_WORKER:
        mend = "enlarge /dev/shm (docker run --shm-size 1g), or train with --num-workers 0"
        return Finding("shared memory", value, "warn", mend)
    return Finding("shared memory", value)


def open_files(soft: int, hard: int) -> Finding:
    """Files that may be open at once."""
    if soft == resource.RLIM_INFINITY:
        return Finding("open files", "no limit")
    value = f"{numbers.count(soft)} at once"
    if soft < FEW_FILES:
        most = MORE_FILES if hard == resource.RLIM_INFINITY else min(MORE_FILES, hard)
        return Finding("open files", value, "warn", f"raise the limit: ulimit -n {most}")
    return Finding("open files", value)


def core_dumps(limit: int) -> Finding:
    """Whether a crash would write memory, and with it patient data, to the disk."""
    if limit == 0:
        return Finding("core dumps", "off")
    return Finding("core dumps", "on, and they hold patient data", "warn", "ulimit -c 0")


def umask() -> Finding:
    """Who may read what is written."""
    mask = os.umask(PRIVATE)
    os.umask(mask)
    if mask & PRIVATE == PRIVATE:
        return Finding("umask", f"{mask:04o}, only the owner reads what is written")
    return Finding("umask", f"{mask:04o}, others may read what is written", "warn", "umask 077")


def launched(environment: Mapping[str, str], launcher: Iterable[str]) -> Finding:
    """Variables that a launcher left in the shell; their values may name a machine."""
    found = [name for name in launcher if name in environment]
    if not found:
        return Finding("launcher", "no variables left")
    mend = f"unset {' '.join(found)}, unless a launcher started this"
    return Finding("launcher", f"{', '.join(found)} {_are(found)} set", "warn", mend)


def variables(environment: Mapping[str, str]) -> list[Finding]:
    """SETVAE_* variables: how many are set, or each one that a command will refuse."""
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    looked = [_refused(name, value) for name, value in sorted(ours.items())]
    refused = [finding for finding in looked if finding]
    return refused or [Finding("variables", f"{len(ours) or 'no'} {PREFIX}* set")]


def _refused(name: str, value: str) -> Finding | None:
    for command in COMMANDS:
        try:
            merge(command, options={}, environment={name: value})
        except SettingsError as error:
            what = error.what.partition(", got ")[0]
            return Finding("variables", f"{name}: {what}", "wrong", error.mend or f"unset {name}")
    return None


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
