"""One deterministic pass over a split: predictions, raw loss terms, posterior measures.

Training validates with it, a finished run is measured with it, and so is any checkpoint later on.
Nothing is read from the device before `finish`, except sizes that the loader knew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from setvae_cli.data.batch import SetBatch
from setvae_cli.encoders.classifier import Model
from setvae_cli.evaluation.retrieval import recall_at
from setvae_cli.losses.objective import ClassWeights, LossTerms, Weights, loss_terms, total
from setvae_cli.losses.term import Term, means_of
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.objective import ObjectiveSettings

RECALL = (1, 5, 20)  # neighbours of a slice that are looked at


@dataclass(frozen=True)
class Swept:
    """What a pass over a split found, subjects in the order of their rows.

    Attributes:
        rows: [subjects] row numbers.
        logits: [subjects, outputs] float64.
        labels: [subjects, tasks] class numbers.
        label_mask: [subjects, tasks], True where there is a label.
        scalars: `loss`, absent where nothing was there that it sums; with an elbo `recon`, `kl`,
            `beta_kl` (nats a set), `pred` (nats a label; only with labels), `beta`, `recon_weight`,
            `pred_weight`; with a forecast `forecast` and its parts (nats a subject) and `masked`
            (nats a hidden value); with slices `coles` (squared distance a slice) and `recall_1`,
            `recall_5`, `recall_20` among slices without a set in common.
    """

    rows: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    label_mask: np.ndarray
    scalars: dict[str, float]


class Sweep:
    """Collects batches of one pass.

    That is a pass over whole subjects, if there is an elbo; with a forecast one over views; with a
    contrastive loss one over slices. Subjects are counted, and logits taken, in the first of them.

    Args:
        model: In evaluation mode.
        objective: Free bits, smoothing, regularisers.
        classes: Classes of each task.
        metrics: Measures posteriors on the way; None: nothing does.
        class_weights: Weight of each class of each task; empty: 1.
    """

    def __init__(
        self,
        model: Model,
        objective: ObjectiveSettings,
        classes: tuple[int, ...],
        metrics: Metrics | None = None,
        class_weights: ClassWeights = (),
    ) -> None:
        self._model, self._objective, self._classes = model, objective, classes
        self._class_weights = class_weights
        self.metrics = metrics
        self._columns: list[tuple[Tensor, ...]] = []
        self._terms: list[LossTerms] = []
        self._views: list[Mapping[str, Term]] = []
        self._whole, self._elbo = objective.sees_whole, objective.has("elbo")
        behind = "views" if objective.has("forecast") else "slices"
        self._counted = "whole" if self._whole else behind
        self._slices: list[tuple[Tensor, Tensor, Tensor]] = []
        self._batch: SetBatch | None = None

    def add(self, batch: SetBatch) -> None:
        """Evaluate a batch with posterior means and without noise."""
        output = self._model(batch, noise_seed=None)
        terms = loss_terms(
            self._model,
            output,
            batch,
            self._objective,
            classes=self._classes,
            class_weights=self._class_weights,
        )
        kind = _kind(batch)
        if kind != "whole":
            self._views.append(terms.further)
        if kind == "slices":
            assert batch.plan.spans is not None
            self._slices.append((batch.rows, output.embedding.float(), batch.plan.spans))
        if kind != self._counted:
            return
        self._terms.append(terms)
        columns = (batch.rows, output.logits, batch.labels, batch.label_mask)
        self._columns.append(tuple(column[:: batch.plan.slices or 1] for column in columns))
        self._batch = batch
        if self.metrics is not None and isinstance(self._model, SeqSetVAE):
            self.metrics.update(self._model, batch, output)

    def finish(
        self,
        weights: Weights,
        sets_per_subject: float,
        gather: Callable[[Tensor], Tensor] = lambda mine: mine,
    ) -> Swept:
        """Close the pass.

        Args:
            weights: Weights of the loss terms.
            sets_per_subject: Mean sets a subject in training, as in the training loss.
            gather: Joins the rows of all processes that share the pass.

        Raises:
            ValueError: No batch was added.
        """
        if self._batch is None:
            raise ValueError("a pass needs at least one batch")
        rows, logits, labels, mask = (
            gather(torch.cat(column).cpu()) for column in zip(*self._columns, strict=True)
        )
        order = rows.argsort()
        rows, logits, labels, mask = rows[order], logits[order], labels[order], mask[order]
        labelled = mask[:, : len(self._classes)].sum(dim=0).tolist()
        terms = _sum_of_all(_sum(self._terms), gather)
        terms = replace(terms, further=_sum_of_views(self._views, gather))
        plan = replace(self._batch.plan, step_subjects=len(rows), step_labelled=tuple(labelled))
        whole = replace(self._batch, plan=plan)
        counted = self._is_counted(terms, sum(labelled))
        loss = total(terms, weights, whole, sets_per_subject) if counted else None
        return Swept(
            rows=rows.numpy(),
            logits=logits.double().numpy(),
            labels=labels.numpy(),
            label_mask=mask.numpy(),
            scalars={
                **({} if loss is None else {"loss": float(loss)}),
                **(scalars(terms, weights, sum(labelled), elbo=self._elbo) if self._whole else {}),
                **means_of(
                    {name: (float(t.sum), float(t.count)) for name, t in terms.further.items()}
                ),
                **self._recall(gather),
            },
        )

    def _is_counted(self, terms: LossTerms, labelled: int) -> bool:
        """Whether anything that the loss sums was there."""
        if self._objective.reads_labels and labelled:
            return True
        further = (term.weight and float(term.count) for term in terms.further.values())
        return (self._elbo and self._objective.keeps_elbo) or any(further)

    def _recall(self, gather: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Recall among the slices of all processes."""
        if not self._slices:
            return {}
        rows, embedding, spans = (
            gather(torch.cat(column).cpu()) for column in zip(*self._slices, strict=True)
        )
        found = recall_at(embedding, rows, RECALL, spans)
        return {f"recall_{k}": value for k, value in found.items()}


def sweep(
    model: Model,
    batches: Iterable[SetBatch],
    objective: ObjectiveSettings,
    classes: tuple[int, ...],
    *,
    weights: Weights,
    sets_per_subject: float,
    autocast: AbstractContextManager[object],
    metrics: Metrics | None = None,
    class_weights: ClassWeights = (),
) -> Swept:
    """Pass over all batches, on the model's device."""
    collected = Sweep(model.eval(), objective, classes, metrics, class_weights)
    with torch.no_grad(), autocast:
        for batch in batches:
            collected.add(placed(batch, model))
    return collected.finish(weights, sets_per_subject)


def placed(batch: SetBatch, model: nn.Module) -> SetBatch:
    """The batch on the model's device, and in float64 for a model of float64."""
    weight = next(model.parameters(), None)
    if weight is None:
        return batch
    if weight.device.type != "cpu":
        batch = batch.to(weight.device, non_blocking=True)
    return batch.double() if weight.dtype == torch.float64 else batch


def scalars(
    terms: LossTerms, weights: Weights, labelled: int, *, elbo: bool = True
) -> dict[str, float]:
    """Means of summed terms: with an elbo nats a set, and nats a label."""
    found = (
        {}
        if not elbo
        else {
            "recon": float(terms.recon) / terms.sets,
            "kl": float(terms.kl.sum()) / terms.sets,
            "beta_kl": weights.beta * float(terms.kl_objective.sum()) / terms.sets,
            "beta": weights.beta,
            "recon_weight": weights.recon,
            "pred_weight": weights.pred,
        }
    )
    if labelled:
        found["pred"] = float(terms.pred.sum()) / labelled
    return found


def _kind(batch: SetBatch) -> Literal["whole", "views", "slices"]:
    if batch.plan.slices:
        return "slices"
    return "whole" if batch.targets is None else "views"


def _sum(terms: list[LossTerms]) -> LossTerms:
    """The sum of raw sums, in float64."""
    return LossTerms(
        recon=torch.stack([t.recon.double() for t in terms]).sum(dim=0),
        kl=torch.stack([t.kl.double() for t in terms]).sum(dim=0),
        kl_objective=torch.stack([t.kl_objective.double() for t in terms]).sum(dim=0),
        pred=torch.stack([t.pred.double() for t in terms]).sum(dim=0),
        regularizer=torch.stack([t.regularizer.double() for t in terms]).sum(dim=0),
        subjects=sum(t.subjects for t in terms),
        sets=sum(t.sets for t in terms),
        elements=sum(t.elements for t in terms),
    )


def _sum_of_all(terms: LossTerms, gather: Callable[[Tensor], Tensor]) -> LossTerms:
    """The sums of all processes, added in their order."""
    names = [field.name for field in fields(LossTerms) if field.name != "further"]
    values = [torch.as_tensor(getattr(terms, name)).cpu().double() for name in names]
    mine = torch.cat([value.reshape(-1) for value in values])
    summed = gather(mine[None]).sum(dim=0).split([value.numel() for value in values])
    whole = dict(zip(names, summed, strict=True))
    return LossTerms(
        recon=whole["recon"][0],
        kl=whole["kl"],
        kl_objective=whole["kl_objective"],
        pred=whole["pred"],
        regularizer=whole["regularizer"][0],
        subjects=int(whole["subjects"]),
        sets=int(whole["sets"]),
        elements=int(whole["elements"]),
    )


def _sum_of_views(
    views: list[Mapping[str, Term]], gather: Callable[[Tensor], Tensor]
) -> dict[str, Term]:
    """Further terms of all batches and processes, in float64; a pass need not have all of them."""
    if not views:
        return {}
    kinds = {name: term for view in views for name, term in view.items()}
    names = list(kinds)
    mine = torch.stack(
        [
            torch.stack([getattr(v[name], part).double() for v in views if name in v]).sum()
            for name in names
            for part in ("sum", "count")
        ]
    )
    sums = gather(mine[None].cpu()).sum(dim=0).view(-1, 2)
    return {
        name: replace(kinds[name], sum=both[0], count=both[1])
        for name, both in zip(names, sums, strict=True)
    }
