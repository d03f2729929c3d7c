"""Temporaries that processes left where they were killed."""

from __future__ import annotations

from pathlib import Path

from setvae_cli.reports.doctor.finding import Finding


def orphans(*folders: Path, busy: bool = False) -> Finding:
    """Count files that were never finished.

    Args:
        folders: Where they are looked for.
        busy: Whether a process is writing there, to which they may belong.
    """
    found = sum(1 for folder in folders for _ in folder.glob(".tmp-*"))
    if not found:
        return Finding("leftovers", "none")
    value = f"{found} unfinished {'file' if found == 1 else 'files'} (.tmp-*)"
    if busy:
        return Finding("leftovers", value)
    return Finding("leftovers", value, "warn", "remove them if no setvae is running")
