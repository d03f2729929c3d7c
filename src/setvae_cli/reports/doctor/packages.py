"""Which versions are installed, and whether they are those that setvae asks for."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from setvae_cli.reports.doctor.finding import Finding, Section, shortened

SETVAE, LIGHTNING = "setvae-cli", "pytorch-lightning"
SHOWN = ("torch", LIGHTNING, "numpy", "pyarrow", "pydantic", "safetensors", "tensorboard")
REASONS = {
    LIGHTNING: "2.6.2 and 2.6.3 were compromised, and before 2.6.6 a checkpoint could run code",
}


def versions() -> Section:
    """Python, setvae and the packages that it needs."""
    installed = _version(SETVAE)
    own = Finding("setvae", installed or "not installed as a package")
    findings = [Finding("python", platform.python_version()), own]
    if installed is None:
        mend = "install it, so that versions of what it needs can be compared"
        findings[1] = Finding(own.name, own.value, "warn", mend)
        return Section("Versions", tuple(findings))
    return Section("Versions", (*findings, *packages(requires(SETVAE) or (), _version)))


def packages(needed: Sequence[str], installed: Callable[[str], str | None]) -> list[Finding]:
    """Each well-known package, and of the others those that are not as they should be.

    Args:
        needed: Requirements, such as "numpy>=2.0".
        installed: The version of a package; None where it is missing.
    """
    wanted = [Requirement(text) for text in needed]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wanted.sort(key=lambda one: SHOWN.index(one.name) if one.name in SHOWN else len(SHOWN))
    findings = {one.name: _package(one, installed(one.name)) for one in wanted}
    others = [name for name in findings if name not in SHOWN and findings[name].state == "ok"]
    lines = [finding for name, finding in findings.items() if name not in others]
    return [*lines, Finding("others", shortened(others))] if others else lines


def _package(wanted: Requirement, found: str | None) -> Finding:
    mend = f"install '{wanted.name}{wanted.specifier}'"
    if wanted.name in REASONS:
        mend += f": {REASONS[wanted.name]}"
    if found is None:
        return Finding(wanted.name, "missing", "wrong", mend)
    if not wanted.specifier.contains(found, prereleases=True):
        return Finding(wanted.name, found, "warn", mend)
    return Finding(wanted.name, found)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
