"""The same maths one set at a time: oracle for tests and opponent for benchmarks.

Nothing here is packed, bucketed or gathered by plan: subjects, sets and codes are loops, attention
is a softmax written out, distances are differences. It reads the weights of a `SeqSetVAE`, shares
none of its forward code beyond single linear layers and norms, and is differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.objective import LossTerms, level_weights
from setvae_cli.nn.decoders import QueryDecoder
from setvae_cli.nn.heads import PredictionHead
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.testing.one_set import (
    OneSet,
    chamfer_of,
    element_vectors,
    history_states,
    latents_of,
    priors_of,
    query_nll_of,
    summaries_of,
    time_vector,
    variable_axis_of,
)


@dataclass(frozen=True)
class ReferenceOutput:
    """What the packed model's `Output` and loss terms are compared with."""

    logits: Float[Tensor, "subjects outputs"]
    embedding: Float[Tensor, "subjects size"]
    history: Float[Tensor, "sets dim"]
    posterior_means: Float[Tensor, "levels sets latent"]
    prior_means: Float[Tensor, "levels sets latent"]
    terms: LossTerms


def unpack(batch: SetBatch) -> list[list[OneSet]]:
    """A batch as lists: subjects of sets."""
    subjects, element, set_number = [], 0, 0
    for count in batch.sets_per_subject.tolist():
        sets = []
        for size in batch.set_sizes[set_number : set_number + count].tolist():
            cut = slice(element, element + size)
            sets.append(
                OneSet(
                    batch.keys[cut].long(),
                    batch.values[cut],
                    batch.value_mask[cut],
                    batch.positions[set_number],
                )
            )
            element, set_number = element + size, set_number + 1
        subjects.append(sets)
    return subjects


def reference(
    model: SeqSetVAE,
    batch: SetBatch,
    settings: ObjectiveSettings,
    *,
    classes: tuple[int, ...],
    noise: Float[Tensor, "sets levels latent"] | None = None,
) -> ReferenceOutput:
    """Run the model one subject and one set at a time, without dropout.

    Args:
        model: Its weights are read.
        batch: Is unpacked first.
        settings: Free bits, smoothing and regularisers.
        classes: Classes of each task.
        noise: Latent noise of each set; None: posterior means.
    """
    subjects, parts, offset = unpack(batch), [], 0
    for sets in subjects:
        own = None if noise is None else noise[offset : offset + len(sets)]
        parts.append(_Subject(model, sets, own, settings))
        offset += len(sets)
    logits = torch.stack([part.logits for part in parts])
    zero = logits.new_zeros(())
    smoothing = settings.label_smoothing if model.training else 0.0
    terms = LossTerms(
        recon=sum((part.recon for part in parts), zero),
        kl=sum((part.kl for part in parts), zero),
        kl_objective=sum((part.kl_objective for part in parts), zero),
        pred=_prediction(logits, batch, classes, smoothing),
        regularizer=sum((part.regularizer for part in parts), zero),
        subjects=len(subjects),
        sets=offset,
        elements=len(batch.keys),
    )
    return ReferenceOutput(
        logits=logits,
        embedding=torch.stack([part.embedding for part in parts]),
        history=torch.cat([part.states for part in parts]),
        posterior_means=torch.cat([part.posterior_means for part in parts], 1),
        prior_means=torch.cat([part.prior_means for part in parts], 1),
        terms=terms,
    )


class _Subject:
    """One subject's whole forward pass."""

    def __init__(
        self,
        model: SeqSetVAE,
        sets: list[OneSet],
        noise: Tensor | None,
        settings: ObjectiveSettings,
    ) -> None:
        self.model, self.sets = model, sets
        self.elements = [element_vectors(model, one) for one in sets]
        self.summaries = [summaries_of(model, x) for x in self.elements]
        self.latents = [
            latents_of(model, summary, None if noise is None else noise[t])
            for t, summary in enumerate(self.summaries)
        ]
        self.states = history_states(model, self._tokens())
        self.past = self._past()
        self._kl(settings)
        self.recon = sum(
            (self._reconstruction(t) for t in range(len(sets))), self.states.new_zeros(())
        )
        self.embedding = model.head.embed(self._joined())
        hidden = self.embedding
        assert isinstance(model.head, PredictionHead)
        self.logits = model.head.out(hidden + model.head.residual(hidden))

    def _tokens(self) -> list[Tensor]:
        tokens, before = [], None
        for t, one in enumerate(self.sets):
            _, z, _ = self.latents[t]
            context = sum(
                spread(z_l) for spread, z_l in zip(self.model.latents.spread, z, strict=True)
            )
            token = context if self.model.bottleneck else self.summaries[t][-1] + context
            tokens.append(token + time_vector(self.model, one, before, t))
            before = one
        return tokens

    def _past(self) -> Tensor | None:
        if self.model.past is None:
            return None
        return torch.cat([self.model.past.start[None], self.states[:-1]])

    def _kl(self, settings: ObjectiveSettings) -> None:
        means, prior_means, raw, clamped = [], [], [], []
        self.regularizer = self.states.new_zeros(())
        for t in range(len(self.sets)):
            parameters, z, _ = self.latents[t]
            priors = priors_of(self.model, z, None if self.past is None else self.past[t])
            each = []
            for (mean, logvar), (prior_mean, prior_logvar) in zip(parameters, priors, strict=True):
                ratio = torch.exp(logvar - prior_logvar)
                shift = (mean - prior_mean) ** 2 / torch.exp(prior_logvar)
                each.append((ratio + shift - 1 - (logvar - prior_logvar)) / 2)
                self.regularizer = (
                    self.regularizer + settings.variance_regularizer * (logvar**2).sum()
                )
                self.regularizer = self.regularizer + settings.mean_regularizer * (mean**2).sum()
            raw.append(torch.stack([kl.sum() for kl in each]))
            clamped.append(
                torch.stack([torch.clamp(kl, min=settings.free_bits).sum() for kl in each])
                if settings.free_bits
                else raw[-1]
            )
            means.append(torch.stack([mean for mean, _ in parameters]))
            prior_means.append(torch.stack([mean for mean, _ in priors]))
        self.kl = torch.stack(raw).sum(0)
        weights = self.kl.new_tensor(level_weights(len(self.kl), settings))
        self.kl_objective = torch.stack(clamped).sum(0) * weights
        self.posterior_means = torch.stack(means, 1)
        self.prior_means = torch.stack(prior_means, 1)

    def _reconstruction(self, t: int) -> Tensor:
        _, z, _ = self.latents[t]
        if self.model.decoder_context == "state":
            condition = self.states[t]
        elif self.model.decoder_context == "latent":
            condition = torch.cat(z)
        else:
            assert self.past is not None
            condition = torch.cat([*z, self.past[t]])
        if isinstance(self.model.decoder, QueryDecoder):
            return query_nll_of(self.model.decoder, condition, self.sets[t])
        return chamfer_of(self.model.decoder, condition, self.elements[t])

    def _joined(self) -> Tensor:
        model = self.model
        if model.pooling is None:
            z = torch.stack([z[0] for _, z, _ in self.latents])
            return (self.states * z).mean(0)
        weights = model.pooling.scores(self.states).softmax(0)
        pooled: Tensor = (weights.T @ self.states).flatten()
        if model.variables is None:
            return pooled
        return torch.cat([pooled, variable_axis_of(model, model.variables, self.sets)])


def _prediction(
    logits: Tensor, batch: SetBatch, classes: tuple[int, ...], smoothing: float
) -> Tensor:
    """Cross-entropy of each task, one subject at a time."""
    totals = []
    column = 0
    for task, n in enumerate(classes):
        width = 1 if n == 2 else n
        loss = logits.new_zeros(())
        for b in range(len(logits)):
            if not bool(batch.label_mask[b, task]):
                continue
            own = logits[b, column : column + width]
            log_p = (
                torch.stack([-functional.softplus(own[0]), -functional.softplus(-own[0])])
                if n == 2
                else own.log_softmax(-1)
            )
            target = torch.full((n,), smoothing / n, dtype=log_p.dtype)
            target[int(batch.labels[b, task])] += 1 - smoothing
            loss = loss - (target * log_p).sum()
        totals.append(loss)
        column += width
    return torch.stack(totals) if totals else logits.new_zeros(0)
