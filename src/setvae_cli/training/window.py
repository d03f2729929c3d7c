"""Means of training terms over recent steps and over the epoch, without reading a device a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor

from setvae_cli.losses.objective import LossTerms, Weights
from setvae_cli.training.ranks import add_up

_TERMS = ("loss", "recon", "kl", "beta_kl", "pred", "labelled", "sets", "elements")
_COLUMNS = (*_TERMS, "norm", "steps")


class Window:
    """Sums loss terms of micro-batches; a `take` reads them once for many steps, of all ranks."""

    def __init__(self) -> None:
        self._begun: list[Tensor] = []  # of the step that is not done yet
        self._rows: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._steps = 0
        self._weights = Weights(0.0, 0.0, 0.0)
        self._epoch = dict.fromkeys(_COLUMNS, 0.0)

    def state(self) -> dict[str, Any]:
        """What whole steps gave so far, for a checkpoint."""
        return {
            "rows": torch.stack(self._rows).cpu() if self._rows else None,
            "norms": torch.stack(self._norms).cpu() if self._norms else None,
            "steps": self._steps,
            "weights": list(astuple(self._weights)),
            "epoch": dict(self._epoch),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Window:
        """The window that `state` described."""
        window = cls()
        window._rows = [] if state["rows"] is None else list(state["rows"])
        window._norms = [] if state["norms"] is None else list(state["norms"])
        window._steps = state["steps"]
        window._weights = Weights(*state["weights"])
        window._epoch = dict(state["epoch"])
        return window

    def add(self, loss: Tensor, terms: LossTerms, weights: Weights, labelled: Tensor) -> None:
        """Add a micro-batch.

        Args:
            loss: Its share of the step's loss.
            terms: Its raw sums.
            weights: Of the step.
            labelled: Count of its labels.
        """
        beta_kl = weights.beta * terms.kl_objective.detach().sum()
        row = [loss, terms.recon, terms.kl.sum(), beta_kl, terms.pred.sum(), labelled]
        counts = [loss.new_full((), number) for number in (terms.sets, terms.elements)]
        self._begun.append(torch.stack([part.detach().float() for part in (*row, *counts)]))
        self._weights = weights

    def end_step(self, norm: Tensor | None) -> None:
        """An optimizer step is done, on all ranks; `norm` is its gradient's, before clipping."""
        self._rows += add_up(torch.stack(self._begun))
        self._steps += 1
        if norm is not None:
            self._norms.append(norm.detach())
        self.skip_step()

    def skip_step(self) -> None:
        """Forget the step that is not done yet."""
        self._begun = []

    def take(self) -> dict[str, float]:
        """Means since the last call; empty without a step.

        Returns:
            `loss` and `elements` a step, `recon`, `kl` and `beta_kl` in nats a set, `pred` in nats
            a label (only with labels), `grad_norm` (only when known), and the weights of the last
            step.
        """
        recent = self._drain()
        for name, value in recent.items():
            self._epoch[name] += value
        return self._means(recent)

    def take_epoch(self) -> dict[str, float]:
        """Means since the last call of this kind, in which what `take` read counts too."""
        self.take()
        sums, self._epoch = self._epoch, dict.fromkeys(_COLUMNS, 0.0)
        return self._means(sums)

    def _drain(self) -> dict[str, float]:
        """Read the device; what was gathered starts again at nothing."""
        sums = _stacked(self._rows).sum(dim=0).tolist() if self._rows else [0.0] * len(_TERMS)
        norm = float(_stacked(self._norms).sum()) if self._norms else 0.0
        found = dict(zip(_COLUMNS, [*sums, norm, self._steps], strict=True))
        self._rows, self._norms, self._steps = [], [], 0
        return found

    def _means(self, sums: dict[str, float]) -> dict[str, float]:
        if not sums["steps"]:
            return {}
        found = {
            "loss": sums["loss"] / sums["steps"],
            "elements": sums["elements"] / sums["steps"],
            **{name: sums[name] / sums["sets"] for name in ("recon", "kl", "beta_kl")},
            "beta": self._weights.beta,
            "recon_weight": self._weights.recon,
            "pred_weight": self._weights.pred,
        }
        if sums["labelled"]:
            found["pred"] = sums["pred"] / sums["labelled"]
        if sums["norm"]:
            found["grad_norm"] = sums["norm"] / sums["steps"]
        return found


def _stacked(parts: list[Tensor]) -> Tensor:
    """One tensor of all; of a resumed run the first ones lie on the CPU."""
    device = parts[-1].device
    return torch.stack([part.to(device) for part in parts]).double()
