"""One thing that was looked at, how it is, and what mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from setvae_cli.errors import SetvaeError

State = Literal["ok", "warn", "wrong"]
Sink = Callable[[str, float], None]


@dataclass(frozen=True)
class Finding:
    """One line of a report.

    Attributes:
        name: What was looked at.
        value: How it is.
        state: `wrong`: something will not work, or is lost; `warn`: worth knowing.
        mend: What to do about it, an imperative clause; None where it is ok.
    """

    name: str
    value: str
    state: State = "ok"
    mend: str | None = None


@dataclass(frozen=True)
class Section:
    """Findings about one thing.

    Attributes:
        title: What they are about.
        findings: In the order in which they are read.
    """

    title: str
    findings: tuple[Finding, ...]


def wrong(name: str, error: SetvaeError, mend: str) -> Finding:
    """What an error says, without the place, which the report names once.

    Args:
        name: What was looked at.
        error: What was found.
        mend: What to do where the error does not say it.
    """
    return Finding(name, error.what, "wrong", error.mend or mend)


def shortened(names: list[str], most: int = 3) -> str:
    """The first few names, and how many more there are.

    >>> shortened(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
