"""What a rule says of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["found", "clear", "unknown"]


@dataclass(frozen=True)
class Diagnosis:
    """What one rule says of a run.

    Attributes:
        name: What it looks for.
        state: `found`, `clear`, or `unknown` where the log cannot tell.
        finding: The figures, one clause.
        rule: When it says `found`.
        mend: What to try; empty where nothing was found.
    """

    name: str
    state: State
    finding: str
    rule: str
    mend: str = ""
