"""What a look at the posteriors leaves in the logs beside its scalars."""

from __future__ import annotations

from setvae_cli.monitor.record import action_record, verdict_record
from setvae_cli.training.followers import SilentLog
from setvae_cli.training.records import Checked
from setvae_cli.training.scalars import ScalarLog


def log_look(log: ScalarLog | SilentLog, found: Checked) -> None:
    """Note verdicts that changed and what was done; a validation leaves histograms too.

    Args:
        log: Of the run.
        found: The look.
    """
    for verdict in found.verdicts:
        if verdict.changed:
            log.note(found.step, found.epoch, verdict_record(verdict, found.split))
    if found.action is not None:
        log.note(found.step, found.epoch, action_record(found.action))
    for level in found.measures.levels if found.split == "val" else ():
        tag = f"val_kl_dimensions_level_{level.level}"
        log.histogram(found.step, tag, level.dimensions.kl)
