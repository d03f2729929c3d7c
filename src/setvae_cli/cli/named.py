"""The checkpoint that a person means: a file, a run's best one, or that of the latest run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import shown
from setvae_cli.errors import InputError, SetvaeError

if TYPE_CHECKING:
    from setvae_cli.runs.folder import RunFolder


def named_checkpoint(
    given: str | None, output_dir: Path, output: Output, *, pretrained: bool = False
) -> Path:
    """The checkpoint that was named; where a run was, or nothing, it is said which one that is.

    Args:
        given: A checkpoint or a run's folder; None: the latest run.
        output_dir: Where runs are looked for.
        output: Where the choice is said.
        pretrained: With nothing named, pass over what was fine-tuned: the next fine-tuning starts
            where the one before it did.

    Raises:
        InputError: There is no run, no checkpoint in it, or an exported model was named.
    """
    from setvae_cli.cli.comparing import is_comparison
    from setvae_cli.runs.folder import RunFolder
    from setvae_cli.store.cache import is_store

    if given is not None and not os.path.isdir(given):
        return Path(given) if pretrained else _no_export(Path(given))
    run = RunFolder(Path(given)) if given is not None else _latest(output_dir, pretrained)
    if not run.checkpoints.is_dir():
        what, mend = "is no run: it has no folder of checkpoints", "name a run's folder"
        if is_comparison(run.path):
            what, mend = "is a comparison", "name a run or a checkpoint, such as those in its runs/"
        elif is_store(run.path):
            what, mend = "is a store", "name a run here, and the store with --data"
        raise InputError(what, where=str(run.path), mend=mend)
    checkpoint = run.best_or_last()
    which = " (the latest of setvae train)" if pretrained else " (the latest)"
    output.facts(
        [
            ("run", shown(run.path) + (which if given is None else "")),
            ("checkpoint", checkpoint.name),
        ]
    )
    return checkpoint


def _no_export(path: Path) -> Path:
    from setvae_cli.runs.export import begins_as_exported

    if path.is_file() and begins_as_exported(path):
        what = "is an exported model, which setvae finetune starts from"
        raise InputError(what, where=str(path), mend="here name a checkpoint")
    return path


def _latest(output_dir: Path, pretrained: bool) -> RunFolder:
    from setvae_cli.runs.folder import newest_first

    for run in newest_first(output_dir):
        if not (pretrained and _is_tuned(run)):
            return run
    what = "holds no run of setvae train" if pretrained else "holds no run"
    raise InputError(what, where=str(output_dir), mend="name one, or see setvae train --help")


def _is_tuned(run: RunFolder) -> bool:
    """Whether setvae finetune wrote it; damaged settings are told of when a run is opened."""
    from setvae_cli.runs.settings_file import read_settings
    from setvae_cli.settings.command import is_tuned

    try:
        return is_tuned(read_settings(run.settings))
    except SetvaeError:
        return False
