"""The SeqSetVAE: set encoder, latents, history, prior, decoder, head.

x_t --set encoder--> summary --q(z_t | x_t)--> z_t
token_t = summary + map(z_t)          beside the path (map starts at 0), or map(z_t) alone
h_t = history(tokens up to t)         p(z_t | h before t), decoder(z_t, h before t)
embedding = pools over h, and the variable axis;  logits = head(embedding)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from setvae_cli.data.batch import SetBatch
from setvae_cli.data.noise import counter_normal
from setvae_cli.nn.decoders import ChamferDecoder, QueryDecoder
from setvae_cli.nn.embedding import (
    InterpolatedEmbedding,
    Knots,
    Located,
    ProductEmbedding,
    interpolate,
    interpolated_sums,
)
from setvae_cli.nn.forecast import ForecastHeads
from setvae_cli.nn.gaussian import DiagGaussian
from setvae_cli.nn.heads import PredictionHead, TimePooling, VariableAxis
from setvae_cli.nn.history import History, Past, TimeEncoding
from setvae_cli.nn.mlp_head import MlpHead
from setvae_cli.nn.ragged import segment_sum
from setvae_cli.nn.set_vae import AttentionEncoder, BagEncoder, LatentLevels, Latents
from setvae_cli.numbers import parameters

LATENT_DRAW = 1
SIGMA_DRAW = 2


@dataclass(frozen=True)
class Output:
    """Everything a loss or a report reads from one forward pass.

    Attributes:
        logits: One a binary task, one a class of other tasks, side by side.
        embedding: The subject's embedding.
        history: h_t.
        latents: Posteriors and samples, lowest level first.
        priors: The priors they are measured against, lowest level first.
        decoded: The decoder's state of each set (query), or made elements (chamfer).
        elements: Element vectors, where the decoder is compared with them; no gradient.
        summary: What the set encoder says of each set, before latents.
        past: h_{t-1}, where a prior or the decoder is given it.
    """

    logits: Float[Tensor, "subjects classes"]
    embedding: Float[Tensor, "subjects size"]
    history: Float[Tensor, "sets dim"]
    latents: Latents
    priors: tuple[DiagGaussian, ...]
    decoded: Tensor
    elements: Float[Tensor, "elements dim"] | None
    summary: Float[Tensor, "sets dim"]
    past: Float[Tensor, "sets dim"] | None

    @property
    def posteriors(self) -> tuple[DiagGaussian, ...]:
        """q of every level, lowest first."""
        return self.latents.posteriors


@dataclass(frozen=True)
class Remembered:
    """What follows from latents.

    Attributes:
        states: h_t.
        past: h_{t-1}, where a prior or the decoder is given it.
        decoded: As in `Output`.
    """

    states: Float[Tensor, "sets dim"]
    past: Float[Tensor, "sets dim"] | None
    decoded: Tensor


class SeqSetVAE(nn.Module):
    """A sequence of sets, its latents, and what they say about the subject.

    Parts are made by nn/build.py.

    Args:
        knots: Where values lie between table rows.
        embedding: Elements to vectors.
        encoder: Elements (or their sums) to summaries.
        latents: Summaries to latents.
        time: Positions to vectors.
        history: Tokens to states.
        decoder: What the set looked like.
        pooling: States to a vector a subject; None for the original's product of z and h.
        variables: The variable axis; None where it is off.
        head: To embedding and logits.
        bottleneck: Whether latents are the only path.
        decoder_context: past, state or latent.
        sigma_noise: Relative noise on sigma in training.

    Attributes:
        forecast: Heads of label-free training; None: it has none.
    """

    def __init__(
        self,
        *,
        knots: Knots,
        embedding: InterpolatedEmbedding | ProductEmbedding,
        encoder: BagEncoder | AttentionEncoder,
        latents: LatentLevels,
        time: TimeEncoding,
        history: History,
        decoder: QueryDecoder | ChamferDecoder,
        pooling: TimePooling | None,
        variables: VariableAxis | None,
        head: PredictionHead | MlpHead,
        bottleneck: bool,
        decoder_context: str,
        sigma_noise: float = 0.0,
        name: str = "",
    ) -> None:
        super().__init__()
        self.knots, self.embed, self.encoder, self.latents = knots, embedding, encoder, latents
        self.time, self.history, self.decoder = time, history, decoder
        self.pooling, self.variables, self.head = pooling, variables, head
        self.bottleneck, self.decoder_context = bottleneck, decoder_context
        self.sigma_noise, self.name = sigma_noise, name
        self.forecast: ForecastHeads | None = None
        needs_past = latents.prior is not None or decoder_context == "past"
        self.past = Past(history.norm.normalized_shape[0]) if needs_past else None
        if not bottleneck:
            for parameter in latents.spread.parameters():
                nn.init.zeros_(parameter)

    @property
    def needs_set_plan(self) -> bool:
        """Whether batches must come with rectangles by set."""
        return self.encoder.needs_set_plan or isinstance(self.decoder, ChamferDecoder)

    def set_encoder_parameters(self) -> list[nn.Parameter]:
        """The parameters of the set encoder, which may learn at their own rate."""
        return [p for part in (self.embed, self.encoder, self.latents) for p in part.parameters()]

    def description(self) -> str:
        """One line for a person."""
        weights = parameters(sum(p.numel() for p in self.parameters()))
        decoder = "query" if isinstance(self.decoder, QueryDecoder) else "chamfer"
        levels = len(self.latents.posterior)
        latent = f"latent {self.latents.latent_dim}" + (f" x {levels}" if levels > 1 else "")
        return f"{self.name}, {weights}, {latent}, {decoder} decoder"

    def forward(self, batch: SetBatch, noise_seed: int | None = None) -> Output:
        """Encode, infer, remember, decode, predict.

        Args:
            batch: A packed batch; with a set plan where `needs_set_plan`.
            noise_seed: Seed of latent noise, which is used in training mode only; the noise is a
                function of this seed and the identities in the batch's plan. None: means.

        Returns:
            The output, in packed order.
        """
        located = self.knots(batch.keys, batch.values)
        elements, summaries = self._summaries(batch, located)
        latents = self.latents(summaries, self._noise(batch, noise_seed))
        remembered = self.remember(batch, summaries[-1], latents)
        states, past = remembered.states, remembered.past
        embedding = self.head.embedding(self._joined(batch, located, states, latents))
        return Output(
            logits=self.head(embedding),
            embedding=embedding,
            history=states,
            latents=latents,
            priors=self.latents.priors(latents, past),
            decoded=remembered.decoded,
            elements=None if elements is None else elements.detach(),
            summary=summaries[-1],
            past=past,
        )

    def remember(
        self, batch: SetBatch, summary: Float[Tensor, "sets dim"], latents: Latents
    ) -> Remembered:
        """History and decoder, given summaries and latents: those of `Output`, or others."""
        plan = batch.plan
        token = latents.context if self.bottleneck else summary + latents.context
        token = token + self.time(batch.positions, batch.set_sizes, plan)
        states = self.history(token, plan.by_subject)
        past = None if self.past is None else self.past(states, plan.subject_start)
        return Remembered(states, past, self.decode(batch, latents, states, past))

    def decode(
        self,
        batch: SetBatch,
        latents: Latents,
        states: Float[Tensor, "sets dim"],
        past: Float[Tensor, "sets dim"] | None,
    ) -> Tensor:
        """The decoder's state of each set, or made elements."""
        condition = self._condition(latents, states, past)
        if isinstance(self.decoder, QueryDecoder):
            decoded: Tensor = self.decoder(condition)
        else:
            decoded = self.decoder(condition, batch.plan)
        return decoded

    def _summaries(
        self, batch: SetBatch, located: Located
    ) -> tuple[Tensor | None, list[Float[Tensor, "sets dim"]]]:
        """Element vectors where anyone needs them, and a summary of each set and level."""
        plan, elements = batch.plan, None
        if isinstance(self.embed, ProductEmbedding):
            elements = self.embed(batch.keys, batch.values, batch.value_mask)
        else:
            table = self.embed()
            if self.needs_set_plan:
                elements = interpolate(table, located)
        if isinstance(self.encoder, AttentionEncoder):
            assert elements is not None
            return elements, self.encoder(elements, plan)
        if elements is None:
            return None, self.encoder(interpolated_sums(table, located, plan.set_start))
        return elements, self.encoder(segment_sum(elements, plan.element_set, plan.sets))

    def _noise(
        self, batch: SetBatch, seed: int | None
    ) -> Float[Tensor, "sets levels latent"] | None:
        """Standard normal numbers of each set, a function of who it is and not of where it runs."""
        if seed is None or not self.latents.training:
            return None
        plan, levels = batch.plan, len(self.latents.posterior)
        place = plan.places.index_select(0, plan.set_subject)
        start = plan.subject_start.index_select(0, plan.set_subject)
        index = torch.arange(plan.sets, device=place.device) - start

        def draw(which: int) -> Tensor:
            numbers = levels * self.latents.latent_dim
            normal = counter_normal(
                seed, plan.epoch, plan.batch, place, index, draw=which, dim=numbers
            )
            return normal.to(batch.values.dtype).view(plan.sets, levels, -1)

        noise = draw(LATENT_DRAW)
        return noise * (1 + self.sigma_noise * draw(SIGMA_DRAW)) if self.sigma_noise else noise

    def _condition(
        self, latents: Latents, states: Tensor, past: Tensor | None
    ) -> Float[Tensor, "sets condition"]:
        if self.decoder_context == "state":
            return states
        seen = [] if past is None or self.decoder_context == "latent" else [past]
        return torch.cat([*latents.samples, *seen], -1)

    def _joined(
        self, batch: SetBatch, located: Located, states: Tensor, latents: Latents
    ) -> Float[Tensor, "subjects inputs"]:
        """What the embedding is made of."""
        plan = batch.plan
        if self.pooling is None:
            product = segment_sum(states * latents.samples[0], plan.set_subject, plan.subjects)
            return product / batch.sets_per_subject[:, None].to(product.dtype)
        pooled: Tensor = self.pooling(states, plan)
        if self.variables is None:
            return pooled
        return torch.cat([pooled, self.variables(batch, located)], -1)
