"""The checkpoint that a person means: a file, a run's best one, or that of the latest run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import shown
from setvae_cli.errors import InputError

if TYPE_CHECKING:
    from setvae_cli.runs.folder import RunFolder


def named_checkpoint(given: str | None, output_dir: Path, output: Output) -> Path:
    """The checkpoint that was named; where a run was, or nothing, it is said which one that is.

    Args:
        given: A checkpoint or a run's folder; None: the latest run.
        output_dir: Where runs are looked for.
        output: Where the choice is said.

    Raises:
        InputError: There is no run, or no checkpoint in it.
    """
    from setvae_cli.runs.folder import RunFolder

    if given is not None and not os.path.isdir(given):
        return Path(given)
    run = RunFolder(Path(given)) if given is not None else _latest(output_dir)
    if not run.checkpoints.is_dir():
        what, mend = "is no run: it has no folder of checkpoints", "name a run's folder"
        raise InputError(what, where=str(run.path), mend=mend)
    checkpoint = run.best_or_last()
    output.facts(
        [
            ("run", shown(run.path) + (" (the latest)" if given is None else "")),
            ("checkpoint", checkpoint.name),
        ]
    )
    return checkpoint


def _latest(output_dir: Path) -> RunFolder:
    from setvae_cli.runs.folder import latest

    run = latest(output_dir)
    if run is None:
        mend = "name one, or see setvae train --help"
        raise InputError("holds no run", where=str(output_dir), mend=mend)
    return run
