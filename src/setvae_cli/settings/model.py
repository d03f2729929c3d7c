"""What the model is: widths, latents, decoder, history, head."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from setvae_cli.settings.base import Settings

Preset = Literal["tiny", "base", "original"]


class ModelSettings(Settings):
    """The architecture; the defaults are the preset `base`."""

    preset: Preset = Field(
        "base", description="Widths and objective in one word; single options win over it."
    )
    dim: int = Field(48, ge=4, description="Width of set vectors and of the history.")
    latent_dim: int = Field(32, ge=1, description="Latent numbers a set and level.")
    levels: int = Field(1, ge=1, le=8, description="Levels of latents, top-down above one.")
    prior: Literal["learned", "standard"] = Field(
        "learned", description="What the past expects of a set, or N(0, I)."
    )
    bottleneck: bool = Field(
        False, description="Latents are the only path to the history, as generation needs."
    )
    element_embedding: Literal["interpolate", "product"] = Field(
        "interpolate", description="Interpolated table rows, or the original's code times value."
    )
    set_encoder: Literal["bag", "attention"] = Field(
        "bag", description="Deep set over embeddings, or attention inside each set."
    )
    set_attention: Literal["full", "induced", "auto"] = Field(
        "auto",
        description="Attention of a set; auto: induced where the 99th percentile of set "
        "size is above 32.",
    )
    inducing_points: int = Field(16, ge=1, description="Learned queries of induced attention.")
    heads: int = Field(4, ge=1, description="Attention heads of sets and of the history.")
    ff_dim: int = Field(96, ge=1, description="Hidden width of feed-forward layers.")
    layers: int = Field(1, ge=1, le=64, description="Transformer layers of the history.")
    history: Literal["causal", "bidirectional"] = Field(
        "causal", description="What a set's state sees; only causal has a learned prior."
    )
    pooling: Literal["axes", "original"] = Field(
        "axes", description="Time and variable axes joined, or the original's product of z and h."
    )
    variable_dim: int = Field(
        24, ge=0, description="Numbers a code on the variable axis; 0: off, as with --bottleneck."
    )
    variable_codes: int = Field(
        128, ge=1, description="Codes on the variable axis, the most frequent ones."
    )
    variable_pools: int = Field(8, ge=1, description="Pools a code on the variable axis.")
    embedding_dim: int = Field(64, ge=2, description="Width of the subject's embedding.")
    decoder: Literal["query", "chamfer"] = Field(
        "query", description="Presence and value densities a code, or the original's distances."
    )
    decoder_context: Literal["past", "state", "latent"] = Field(
        "past",
        description="What the decoder is given: z and the past, the state h_t alone (the "
        "original's), or z alone.",
    )
    decoder_tanh: bool = Field(False, description="Bound the chamfer decoder's outputs by tanh.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout inside the history.")
    joined_dropout: float = Field(
        0.2, ge=0, lt=1, description="Dropout of the two axes before they become the embedding."
    )
    head_dropout: float = Field(0.5, ge=0, lt=1, description="Dropout of the subject's embedding.")
    input_dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Largest share of a subject's events hidden in training; the "
        "share is drawn anew for each subject, uniform from 0.",
    )
    logvar_min: float = Field(-10.0, description="Lower clip of posterior log-variance.")
    logvar_max: float = Field(10.0, description="Upper clip of posterior log-variance.")
    causal_relaxation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of future positions visible in training, as in the "
        "original; above 0 the history is not causal and likelihoods are not valid.",
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> ModelSettings:
        if self.dim % self.heads:
            raise ValueError(f"heads {self.heads} does not divide dim {self.dim}")
        if self.logvar_min >= self.logvar_max:
            raise ValueError("logvar_min must be below logvar_max")
        if self.history == "bidirectional" and (
            self.prior == "learned" or self.decoder_context == "past"
        ):
            raise ValueError(
                "history bidirectional has no past, so no prior and no decoder can be given it; "
                "use --prior standard --decoder-context latent"
            )
        if self.variable_dim % self.heads:
            raise ValueError(f"heads {self.heads} does not divide variable_dim {self.variable_dim}")
        if self.pooling == "original" and self.latent_dim != self.dim:
            raise ValueError("pooling original multiplies z and h: latent_dim must equal dim")
        return self
