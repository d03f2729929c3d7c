"""A small untrained model of setvae as an encoder, to show that the rules can be kept."""

from __future__ import annotations

import numpy as np

from setvae_cli.encoders.setvae import SetvaeEncoder
from setvae_cli.nn.build import build_model
from setvae_cli.settings.model import ModelSettings
from setvae_cli.sources.records import Kind
from setvae_cli.store.vocabulary import Vocabulary


def own_encoder(codes: int) -> SetvaeEncoder:
    """A model of the base preset, small, for so many numeric codes."""
    numeric: Kind = "numeric"
    knots = np.linspace(-2, 2, 17, dtype=np.float32)
    vocabulary = Vocabulary(
        codes=tuple(f"code {number}" for number in range(codes)),
        kinds=(numeric,) * codes,
        counts=np.ones(codes, dtype=np.int64),
        mean=np.zeros(codes),
        std=np.ones(codes),
        quantiles=(knots,) * codes,
        embedding=None,
    )
    settings = ModelSettings(
        dim=8, latent_dim=6, heads=2, ff_dim=12, variable_dim=6, embedding_dim=10
    )
    return SetvaeEncoder(
        build_model(settings, vocabulary, classes=(2,), set_size_p99=5.0, time_scale=100.0)
    )
