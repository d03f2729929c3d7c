"""All measurements over one stream of batches: a validation, or a decayed window of training.

    update(model, batch, output) ... -> merge over ranks -> result() -> verdict.py

Nothing is read from the device before `result`. Streams of ranks, or of parts of a pass, merge into
what one pass would have given; `state` goes into a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from setvae_cli.data.batch import SetBatch
from setvae_cli.monitor.groups import GROUPS, group_of
from setvae_cli.monitor.history_use import LinearFit
from setvae_cli.monitor.legacy import legacy
from setvae_cli.monitor.level import LevelStream
from setvae_cli.monitor.measures import HistoryUse, Measures
from setvae_cli.monitor.paired import PairedStream
from setvae_cli.monitor.swaps import (
    cost_with_foreign_latents,
    costs_with_foreign_past,
    right_cost,
)
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE

LIGHT_GROUPS = 8


class Metrics:
    """Everything that is measured, of all levels.

    Args:
        levels: Latent numbers of each level.
        dim: Numbers a state of the history.
        device: Where sums are kept.
        free_bits: Nats a dimension that the objective leaves free.
        thorough: Whether to keep a sample of sets, to fit states to latents, and to measure what
            exchanged latents and pasts cost; without, intervals rest on fewer groups of subjects.
        exchanged: Share of batches whose latents and pasts are exchanged, which takes a pass
            through history and decoder a level.
    """

    def __init__(
        self,
        levels: tuple[int, ...],
        dim: int,
        device: torch.device,
        *,
        free_bits: float = 0.0,
        thorough: bool = True,
        exchanged: float = 1.0,
    ) -> None:
        self.free_bits, self.thorough, self._dim = free_bits, thorough, dim
        self._exchanged, self._due = exchanged, 1.0
        groups = GROUPS if thorough else LIGHT_GROUPS
        self.levels = [
            LevelStream(latent, device, sampled=thorough, groups=groups) for latent in levels
        ]
        self.gaps = [PairedStream(device) for _ in levels]
        self.past = PairedStream(device)
        self.fit = LinearFit(sum(levels), dim, device) if thorough else None

    @property
    def device(self) -> torch.device:
        """Where sums are kept."""
        return self.levels[0].sums.device

    @classmethod
    def of(
        cls,
        model: SeqSetVAE,
        *,
        free_bits: float = 0.0,
        thorough: bool = True,
        exchanged: float = 1.0,
    ) -> Metrics:
        """For a model, on its device."""
        latents, norm = model.latents, model.history.norm
        levels = (latents.latent_dim,) * len(latents.posterior)
        return cls(
            levels,
            norm.normalized_shape[0],
            norm.weight.device,
            free_bits=free_bits,
            thorough=thorough,
            exchanged=exchanged,
        )

    def update(self, model: SeqSetVAE, batch: SetBatch, output: Output) -> None:
        """Add a batch.

        Args:
            model: In evaluation mode when thorough.
            batch: On the device of the sums.
            output: Of this batch, without noise when thorough; no gradient is needed.
        """
        plan = batch.plan
        pairs = zip(self.levels, output.posteriors, output.priors, strict=True)
        for stream, q, p in pairs:
            stream.update(q, p, plan, batch.rows)
        if self.fit is None:
            return
        self.fit.update(torch.cat(output.latents.samples, 1), output.history, plan)
        if plan.subjects > 1 and self._due >= 1:
            self._exchange(model, batch, output)
            self._due -= 1
        self._due += self._exchanged

    def merge(self, other: Metrics) -> None:
        """Add what another stream of the same model has seen."""
        for level, its_level in zip(self.levels, other.levels, strict=True):
            level.merge(its_level)
        for gap, its_gap in zip(self.gaps, other.gaps, strict=True):
            gap.merge(its_gap)
        self.past.merge(other.past)
        if self.fit is not None and other.fit is not None:
            self.fit.merge(other.fit)

    def decay(self, factor: float) -> None:
        """Let what was seen so far count less: a window over training."""
        for level, gap in zip(self.levels, self.gaps, strict=True):
            level.decay(factor)
            gap.decay(factor)
        self.past.decay(factor)
        if self.fit is not None:
            self.fit.decay(factor)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        return {
            "levels": [stream.state() for stream in self.levels],
            "gaps": [stream.state() for stream in self.gaps],
            "past": self.past.state(),
            "fit": None if self.fit is None else self.fit.state(),
            "dim": self._dim,
            "free_bits": self.free_bits,
            "thorough": self.thorough,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> Metrics:
        """The stream that `state` described."""
        levels = [LevelStream.from_state(part, device) for part in state["levels"]]
        metrics = cls(
            tuple(level.sums.shape[-1] for level in levels),
            state["dim"],
            device,
            free_bits=state["free_bits"],
            thorough=state["thorough"],
        )
        metrics.levels = levels
        metrics.gaps = [PairedStream.from_state(part, device) for part in state["gaps"]]
        metrics.past = PairedStream.from_state(state["past"], device)
        if state["fit"] is not None:
            metrics.fit = LinearFit.from_state(state["fit"], device)
        return metrics

    def on(self, device: torch.device) -> Metrics:
        """The same stream with its sums on a device; itself where they are there already."""
        return self if self.device == device else Metrics.from_state(self.state(), device)

    def result(self) -> Measures | None:
        """Everything found so far; reads the device. None before the first set."""
        found = []
        for number, (stream, gap) in enumerate(zip(self.levels, self.gaps, strict=True), start=1):
            level = stream.result(number, self.free_bits * stream.sums.shape[-1])
            if level is None:
                return None
            found.append(replace(level, decoder_gap=gap.result()))
        history = HistoryUse(self.fit.explained(), self.past.result()) if self.fit else None
        lowest = found[0].decoder_gap
        recon = None if lowest is None else lowest.right
        return Measures(tuple(found), history, legacy(found, recon))

    def _exchange(self, model: SeqSetVAE, batch: SetBatch, output: Output) -> None:
        group, right = group_of(batch.rows), right_cost(model, batch, output)
        for level, stream in enumerate(self.gaps):
            changed = cost_with_foreign_latents(model, batch, output, level)
            stream.update(right, changed, batch.plan, group)
        costs = costs_with_foreign_past(model, batch, output, right)
        if costs is not None:
            self.past.update(*costs, batch.plan, group)
