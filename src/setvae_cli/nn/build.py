"""From settings and a vocabulary to a model: the only file of this room that sees either."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setvae_cli.nn.decoders import ChamferDecoder, QueryDecoder
from setvae_cli.nn.embedding import InterpolatedEmbedding, Knots, ProductEmbedding
from setvae_cli.nn.forecast import ForecastHeads
from setvae_cli.nn.heads import PredictionHead, TimePooling, VariableAxis
from setvae_cli.nn.history import History, TimeEncoding
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.nn.set_vae import AttentionEncoder, BagEncoder, LatentLevels
from setvae_cli.settings.model import ModelSettings
from setvae_cli.store.vocabulary import Vocabulary

TIME_QUERIES = 4
INDUCED_ABOVE = 32


def build_model(
    settings: ModelSettings,
    vocabulary: Vocabulary,
    *,
    classes: tuple[int, ...],
    set_size_p99: float,
    time_scale: float,
    axes: int = 1,
    sigma_noise: float = 0.0,
    forecasts: bool = False,
) -> SeqSetVAE:
    """Make an untrained model; weights come from the global generator.

    Heads of label-free training are made last, so that they leave all other weights as they are.

    Args:
        settings: The architecture.
        vocabulary: The model's codes and their statistics.
        classes: Classes of each task; 2 means one logit.
        set_size_p99: 99th percentile of set size in training, for `--set-attention auto`.
        time_scale: Minutes (or mm) that count as one, about a subject's length.
        axes: Numbers in a position.
        sigma_noise: Relative noise on sigma in training.
        forecasts: Whether it has heads of label-free training.

    Returns:
        The model, in training mode.
    """
    points = _inducing_points(settings, set_size_p99)
    knots = Knots(standardised_knots(vocabulary))
    pooling = TimePooling(settings.dim, TIME_QUERIES) if settings.pooling == "axes" else None
    variables = _variables(settings, vocabulary, knots, time_scale)
    joined = (pooling.size if pooling else settings.dim) + (variables.size if variables else 0)
    model = SeqSetVAE(
        knots=knots,
        embedding=_embedding(settings, vocabulary, knots),
        encoder=_encoder(settings, points),
        latents=LatentLevels(
            settings.dim,
            settings.latent_dim,
            settings.levels,
            learned_prior=settings.prior == "learned",
            logvar_range=(settings.logvar_min, settings.logvar_max),
        ),
        time=TimeEncoding(settings.dim, axes, time_scale),
        history=History(
            settings.dim,
            settings.heads,
            settings.ff_dim,
            settings.layers,
            dropout=settings.dropout,
            causal=settings.history == "causal",
            relaxation=settings.causal_relaxation,
        ),
        decoder=_decoder(settings, vocabulary, points),
        pooling=pooling,
        variables=variables,
        head=PredictionHead(
            joined,
            settings.embedding_dim,
            outputs=max(sum(1 if n == 2 else n for n in classes), 1),
            dropout=(settings.joined_dropout, settings.head_dropout),
        ),
        bottleneck=settings.bottleneck,
        decoder_context=settings.decoder_context,
        sigma_noise=sigma_noise,
        name=settings.preset,
    )
    if forecasts:
        model.forecast = ForecastHeads(
            settings.embedding_dim, settings.dim, settings.ff_dim, len(vocabulary.codes)
        )
    return model


def standardised_knots(vocabulary: Vocabulary) -> list[NDArray[np.float64]]:
    """Knots of each code in units of `SetBatch.values`: z-scores, or raw where kept raw."""
    return [
        (np.asarray(q, dtype=np.float64) - mean) / std
        for q, mean, std in zip(vocabulary.quantiles, vocabulary.mean, vocabulary.std, strict=True)
    ]


def _inducing_points(settings: ModelSettings, set_size_p99: float) -> int:
    induced = settings.set_attention == "induced" or (
        settings.set_attention == "auto" and set_size_p99 > INDUCED_ABOVE
    )
    return settings.inducing_points if induced else 0


def _embedding(
    settings: ModelSettings, vocabulary: Vocabulary, knots: Knots
) -> InterpolatedEmbedding | ProductEmbedding:
    if settings.element_embedding == "product":
        return ProductEmbedding(len(vocabulary.codes), settings.dim, vocabulary.embedding)
    return InterpolatedEmbedding(knots, settings.dim, vocabulary.embedding)


def _encoder(settings: ModelSettings, points: int) -> BagEncoder | AttentionEncoder:
    if settings.set_encoder == "bag":
        return BagEncoder(settings.dim, settings.ff_dim, settings.levels)
    return AttentionEncoder(settings.dim, settings.heads, settings.ff_dim, settings.levels, points)


def _decoder(
    settings: ModelSettings, vocabulary: Vocabulary, points: int
) -> QueryDecoder | ChamferDecoder:
    latent = settings.levels * settings.latent_dim
    condition = {"past": latent + settings.dim, "state": settings.dim, "latent": latent}
    width = condition[settings.decoder_context]
    if settings.decoder == "query":
        classes = [
            q.tolist() if kind == "category" else []
            for kind, q in zip(vocabulary.kinds, vocabulary.quantiles, strict=True)
        ]
        kinds = [
            "presence" if kind == "category" and not known else kind  # no class seen in training
            for kind, known in zip(vocabulary.kinds, classes, strict=True)
        ]
        return QueryDecoder(width, settings.ff_dim, kinds, classes)
    return ChamferDecoder(
        width,
        settings.dim,
        heads=settings.heads,
        ff_dim=settings.ff_dim,
        levels=settings.levels,
        points=points,
        tanh=settings.decoder_tanh,
    )


def _variables(
    settings: ModelSettings, vocabulary: Vocabulary, knots: Knots, time_scale: float
) -> VariableAxis | None:
    """The variable axis reads elements, so a bottleneck has none."""
    if settings.pooling == "original" or settings.bottleneck or not settings.variable_dim:
        return None
    return VariableAxis(
        knots,
        _axis_codes(vocabulary, settings.variable_codes),
        width=settings.variable_dim,
        pools=settings.variable_pools,
        heads=settings.heads,
        scale=time_scale,
    )


def _axis_codes(vocabulary: Vocabulary, most: int) -> NDArray[np.int64]:
    """The most frequent codes in training, in vocabulary order; ties by name's order."""
    counts = np.asarray(vocabulary.counts)
    ranked = np.argsort(-counts, kind="stable")[:most]
    return np.sort(ranked[counts[ranked] > 0])
