"""A model of setvae as an encoder: its own embedding, or its states or latents, pooled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from setvae_cli.data.batch import SetBatch
from setvae_cli.encoders.pooling import Over, Pool
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE
from setvae_cli.store.vocabulary import Vocabulary

Pooling = Literal["embedding"] | Over
PoolOf = Literal["history", "latents", "latents-logvar"]


class SetvaeEncoder(nn.Module):
    """A SeqSetVAE behind the door.

    Args:
        model: The model; it is shared, not copied.
        pool: embedding: the model's own, which reads both axes; else how states become a vector.
        pool_of: What is pooled: states of the history; posterior means of all levels; or these and
            their log-variances. Without effect on the model's own embedding.
        freeze_unread: Freeze what the result does not read (decoder, priors, output layer), so
            that no unfrozen parameter is without a gradient. False where a loss reads them.
        vocabulary: The codes that the model knows, such as those of its checkpoint. Events of a
            store are matched to them by name.
    """

    def __init__(
        self,
        model: SeqSetVAE,
        pool: Pooling = "embedding",
        pool_of: PoolOf = "history",
        *,
        freeze_unread: bool = True,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        super().__init__()
        self.model, self.pool_of, self.vocabulary = model, pool_of, vocabulary
        size = _width(model, pool_of) if pool != "embedding" else model.head.embed.out_features
        self.embedding_size = size
        self.pool = None if pool == "embedding" else Pool(pool, size)
        if freeze_unread:
            for parameter in self.unread():
                parameter.requires_grad_(False)

    @property
    def needs_set_plan(self) -> bool:
        """Whether batches must come with rectangles by set."""
        return self.model.needs_set_plan

    def encode(self, batch: SetBatch) -> Float[Tensor, "subjects size"]:
        """One row a subject, from posterior means."""
        return self.pooled(self.model(batch), batch)

    def pooled(self, output: Output, batch: SetBatch) -> Float[Tensor, "subjects size"]:
        """The rows that follow from a forward pass of the model."""
        if self.pool is None:
            return output.embedding
        plan = batch.plan
        last = plan.subject_start + batch.sets_per_subject - 1
        rows: Tensor = self.pool(self._states(output), plan.set_subject, last)
        return rows

    def unread(self) -> Iterator[nn.Parameter]:
        """Parameters of the model that the result does not depend on."""
        read = {id(parameter) for part in self._read() for parameter in part.parameters()}
        return (each for each in self.model.parameters() if id(each) not in read)

    def _states(self, output: Output) -> Float[Tensor, "sets dim"]:
        if self.pool_of == "history":
            return output.history
        found = [q.mean for q in output.posteriors]
        if self.pool_of == "latents-logvar":
            found += [q.logvar for q in output.posteriors]
        return torch.cat(found, -1)

    def _read(self) -> Iterator[nn.Module]:
        """Parts that the result depends on."""
        model = self.model
        yield from (model.embed, model.encoder, model.latents.posterior)
        # A level's map is seen by the levels below it, and by the history.
        latents_only = self.pool is not None and self.pool_of != "history"
        yield from list(model.latents.spread)[1 if latents_only else 0 :]
        if latents_only:
            return
        yield from (model.time, model.history)
        if self.pool is None:
            yield from (each for each in (model.pooling, model.variables) if each is not None)
            yield model.head.embed


def _width(model: SeqSetVAE, pool_of: PoolOf) -> int:
    if pool_of == "history":
        return int(model.history.norm.normalized_shape[0])
    latent = model.latents.latent_dim * len(model.latents.posterior)
    return latent if pool_of == "latents" else 2 * latent
