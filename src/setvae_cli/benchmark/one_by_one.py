"""The same step with the reference forward pass: a loop over subjects, sets and codes."""

from __future__ import annotations

from setvae_cli.benchmark.step import TrainingStep
from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.objective import LossTerms
from setvae_cli.testing.reference import reference


class OneByOneStep(TrainingStep):
    """A training step that handles one set at a time, on the CPU, at posterior means."""

    def terms(self, batch: SetBatch) -> LossTerms:
        """The reference forward pass and the raw terms of its loss."""
        return reference(self.model, batch, self.settings.objective, classes=self.classes).terms
