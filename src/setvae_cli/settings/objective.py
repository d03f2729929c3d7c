"""What training minimises, and how the weights of its parts move."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from setvae_cli.settings.base import Settings


class ObjectiveSettings(Settings):
    """Weights and regularisers; a subject's loss is sum_t [recon + beta KL] + w * prediction."""

    max_beta: float = Field(0.3, ge=0, description="Largest weight of the KL term.")
    beta_schedule: Literal["linear", "cyclical", "constant"] = Field(
        "linear", description="How beta rises from 0 (cyclical: Fu et al. 2019)."
    )
    beta_warmup: float = Field(
        0.2, ge=0, description="Steps until beta is full; below 1: a share of all steps."
    )
    beta_cycles: int = Field(4, ge=1, description="Rises of a cyclical beta.")
    free_bits: float = Field(
        0.0, ge=0, description="Nats a latent dimension may use free of charge (Kingma 2016)."
    )
    recon_weight: float = Field(1.0, ge=0, description="Weight of reconstruction at the end.")
    pred_weight: float = Field(1.0, ge=0, description="Weight of prediction at the end.")
    dynamic_weights: bool = Field(
        False,
        description="The original's: reconstruction falls to half over 10 000 steps while "
        "prediction rises over 5 000; validation uses the final weights.",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Label smoothing of prediction.")
    variance_regularizer: float = Field(
        0.0,
        ge=0,
        description="Adds this times the squared distance of posterior log-variance "
        "from 0: keeps variances near 1, which can itself weaken the latents.",
    )
    mean_regularizer: float = Field(
        0.0,
        ge=0,
        description="Adds this times the squared posterior mean: pulls means to 0, as "
        "a second KL would.",
    )
    rising_level_weights: bool = Field(
        False, description="KL of level l is weighted (l + 1) / levels: lower levels pay less."
    )
    sigma_noise: float = Field(
        0.0,
        ge=0,
        description="Relative noise on posterior sigma in training: the sampled "
        "posterior is wider than the one in the KL term.",
    )
