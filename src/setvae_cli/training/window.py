"""Means of training terms over recent steps and over the epoch, without reading a device a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor

from setvae_cli.losses.objective import LossTerms, Weights
from setvae_cli.losses.term import means_of
from setvae_cli.training.ranks import add_up

_ELBO = ("recon", "kl", "beta_kl")
_TERMS = ("loss", *_ELBO, "pred", "labelled", "sets", "elements")


class Window:
    """Sums loss terms of micro-batches; a `take` reads them once for many steps, of all ranks.

    Args:
        further: Names of the terms that there are beside those of elbo and prediction.
        elbo: Whether there are those of the elbo.
        only_predicts: Whether the loss is nothing but prediction.
    """

    def __init__(
        self, further: tuple[str, ...] = (), *, elbo: bool = True, only_predicts: bool = False
    ) -> None:
        self._further, self._elbo, self._only_predicts = further, elbo, only_predicts
        counts = [f"{name}_count" for name in further]
        self._terms = (*_TERMS, *further, *counts)
        self._begun: list[Tensor] = []  # of the step that is not done yet
        self._rows: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._steps = 0
        self._weights = Weights(0.0, 0.0, 0.0)
        self._epoch = self._nothing()

    def _nothing(self) -> dict[str, float]:
        return dict.fromkeys((*self._terms, "norm", "steps"), 0.0)

    def state(self) -> dict[str, Any]:
        """What whole steps gave so far, for a checkpoint."""
        return {
            "rows": torch.stack(self._rows).cpu() if self._rows else None,
            "norms": torch.stack(self._norms).cpu() if self._norms else None,
            "steps": self._steps,
            "weights": list(astuple(self._weights)),
            "epoch": dict(self._epoch),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` described, of a window for the same terms."""
        self._rows = [] if state["rows"] is None else list(state["rows"])
        self._norms = [] if state["norms"] is None else list(state["norms"])
        self._steps = state["steps"]
        self._weights = Weights(*state["weights"])
        self._epoch = dict(state["epoch"])

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
        further = [terms.further[name] for name in self._further]
        more = (*(one.sum for one in further), *(one.count for one in further))
        self._begun.append(torch.stack([part.detach().float() for part in (*row, *counts, *more)]))
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
            `loss` and `elements` a step, `recon`, `kl` and `beta_kl` in nats a set and their
            weights of the last step (only with an elbo), `pred` in nats a label (only with labels,
            and without them no `loss` of prediction alone), further terms in nats of what they
            count, `grad_norm` (only when known).
        """
        recent = self._drain()
        for name, value in recent.items():
            self._epoch[name] += value
        return self._means(recent)

    def take_epoch(self) -> dict[str, float]:
        """Means since the last call of this kind, in which what `take` read counts too."""
        self.take()
        sums, self._epoch = self._epoch, self._nothing()
        return self._means(sums)

    def _drain(self) -> dict[str, float]:
        """Read the device; what was gathered starts again at nothing."""
        names = self._terms
        sums = _stacked(self._rows).sum(dim=0).tolist() if self._rows else [0.0] * len(names)
        norm = float(_stacked(self._norms).sum()) if self._norms else 0.0
        found = dict(zip((*names, "norm", "steps"), [*sums, norm, self._steps], strict=True))
        self._rows, self._norms, self._steps = [], [], 0
        return found

    def _means(self, sums: dict[str, float]) -> dict[str, float]:
        if not sums["steps"]:
            return {}
        found = {
            "loss": sums["loss"] / sums["steps"],
            "elements": sums["elements"] / sums["steps"],
        }
        if self._only_predicts and not sums["labelled"]:
            del found["loss"]
        if self._elbo:
            found |= {name: sums[name] / sums["sets"] for name in _ELBO}
            found |= {
                "beta": self._weights.beta,
                "recon_weight": self._weights.recon,
                "pred_weight": self._weights.pred,
            }
        found |= means_of({name: (sums[name], sums[f"{name}_count"]) for name in self._further})
        if sums["labelled"]:
            found["pred"] = sums["pred"] / sums["labelled"]
        if sums["norm"]:
            found["grad_norm"] = sums["norm"] / sums["steps"]
        return found


def _stacked(parts: list[Tensor]) -> Tensor:
    """One tensor of all; of a resumed run the first ones lie on the CPU."""
    device = parts[-1].device
    return torch.stack([part.to(device) for part in parts]).double()
