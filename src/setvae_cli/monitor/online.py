"""A window over training batches: what the posteriors did of late, at next to no cost.

    every k-th step is looked at, until a period holds enough sets -> check -> it is forgotten
                                                 without enough of them, it fades and counts on

Which steps are looked at follows from step numbers and sizes of batches, so that a run that was
stopped looks at the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from setvae_cli.data.batch import SetBatch
from setvae_cli.monitor.forms import check_form
from setvae_cli.monitor.measures import Measures
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.monitor.rules import SETS_A_DIMENSION
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE

LOOKS_A_PERIOD = 10
FADING = 0.5  # of what a period saw that was too short to stand for itself
States = list[dict[str, Any]]
Everyones = Callable[[dict[str, Any]], States]
"""Gives the states of all ranks for this one's."""


class OnlineWindow:
    """Light measurements of training batches.

    Args:
        model: Whose posteriors are looked at.
        free_bits: Nats a dimension that the objective leaves free.
        every: Steps between checks.
        everyones: Of processes that look together, each at its own batches; after each step that
            is looked at, all of them hold the same. None: this one looks alone.
        alone: Whether it does after all: processes find one another after a window was made.

    Attributes:
        every: Steps between checks.
        free_bits: Nats a dimension that the objective leaves free now.
    """

    def __init__(
        self,
        model: SeqSetVAE,
        *,
        free_bits: float,
        every: int,
        everyones: Everyones | None = None,
        alone: Callable[[], bool] = lambda: False,
    ) -> None:
        self.every, self._everyones, self._alone = every, everyones, alone
        self.free_bits = free_bits
        self._new = partial(Metrics.of, model, thorough=False)
        self._metrics, self._begun = self._new(), self._new()
        self._begun_sets, self._looked = 0, False  # of the step that is not done yet
        self._spacing = max(1, every // LOOKS_A_PERIOD)
        self._enough = 2 * SETS_A_DIMENSION * model.latents.latent_dim
        self._seen = 0

    def see(self, model: SeqSetVAE, batch: SetBatch, output: Output, step: int) -> None:
        """Look at a training batch of a step, counted from 0, if it is one of those looked at."""
        if self._seen >= self._enough or step % self._spacing:
            return
        self._looked = True  # on all ranks alike, and at all micro-batches of the step
        if self._begun.device != batch.values.device:  # a trainer moves a model after it is built
            self._begun = self._new()
        with torch.no_grad():
            self._begun.update(model, batch, output)
        self._begun_sets += batch.plan.sets

    def end_step(self) -> None:
        """The step is done: what was seen of it counts."""
        if not self._looked:
            return
        self._metrics = self._metrics.on(self._begun.device)
        if self._everyones is None or self._alone():
            self._metrics.merge(self._begun)
            self._seen += self._begun_sets
        else:
            self._merge(self._everyones({"begun": self._begun.state(), "sets": self._begun_sets}))
        self.skip_step()

    def _merge(self, states: States) -> None:
        for state in states:
            self._metrics.merge(Metrics.from_state(state["begun"], self._metrics.device))
            self._seen += state["sets"]

    def skip_step(self) -> None:
        """Forget the step that is not done yet."""
        if self._looked:
            self._begun, self._begun_sets, self._looked = self._new(), 0, False

    def is_due(self, step: int) -> bool:
        """Whether a check belongs behind so many steps."""
        return step % self.every == 0

    def check(self) -> Measures | None:
        """What was seen of late, on all ranks; then it fades."""
        self._metrics.free_bits = self.free_bits
        found = self._metrics.result()
        self._metrics.decay(FADING if self._seen < self._enough else 0.0)
        self._seen = 0
        return found

    def state(self) -> dict[str, Any]:
        """What whole steps showed so far, for a checkpoint."""
        return {"metrics": self._metrics.state(), "seen": self._seen}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` described.

        Raises:
            ValueError: It is the state of another model, or of none.
        """
        self.check_state(state)
        self._metrics = Metrics.from_state(state["metrics"], self._metrics.device)
        self._seen = state["seen"]

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Make sure that `load` could go on from it.

        Raises:
            ValueError: It could not.
        """
        check_form(state, self.state())
