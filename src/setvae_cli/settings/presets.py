"""Widths and objective in one word; a preset lists what differs from the defaults (`base`).

A forecast without labels brings defaults of its own, because a recipe for labels does not suit it:
many more numbers are learned from each subject, so that batches are larger and rates higher. A
contrastive loss without labels brings larger batches, whose other subjects are its negatives.
"""

from __future__ import annotations

from typing import Any

from setvae_cli.settings.model import Preset

PRESETS: dict[Preset, dict[str, Any]] = {
    "base": {},
    "tiny": {
        "dim": 24,
        "latent_dim": 8,
        "heads": 2,
        "ff_dim": 48,
        "variable_dim": 8,
        "variable_pools": 4,
        "embedding_dim": 16,
    },
    "original": {
        "dim": 256,
        "latent_dim": 256,
        "levels": 2,
        "prior": "standard",
        "bottleneck": True,
        "element_embedding": "product",
        "set_encoder": "attention",
        "set_attention": "induced",
        "inducing_points": 16,
        "heads": 2,
        "ff_dim": 256,
        "layers": 2,
        "pooling": "original",
        "variable_dim": 0,
        "embedding_dim": 256,
        "decoder": "chamfer",
        "decoder_context": "state",
        "input_dropout": 0.1,
        "joined_dropout": 0.0,
        "head_dropout": 0.1,
        "max_beta": 0.1,
        "beta_warmup": 5000,
        "free_bits": 0.1,
        "recon_weight": 1.0,
        "pred_weight": 1.0,
        "dynamic_weights": True,
        "label_smoothing": 0.1,
        "lr": 1e-4,
        "set_encoder_lr_ratio": 0.1,
        "weight_decay": 0.01,
        "lr_warmup": 0.0,
        "gradient_clip_val": 0.5,
        "weight_averaging": 0.0,
    },
}

FORECAST: dict[str, Any] = {
    "batch_size": 64,
    "gradient_accumulation_steps": 1,
    "input_dropout": 0.3,
    "lr": 3e-3,
    "weight_decay": 0.02,
    "weight_averaging": 0.98,
    "embedding_dim": 128,
    "max_epochs": 20,
}
# Latents beside a forecast: enough for them to stay in use, too little to rule the embedding.
FORECAST_ELBO: dict[str, Any] = {"max_beta": 0.025, "recon_weight": 0.05, "beta_warmup": 0.5}

COLES: dict[str, Any] = {"batch_size": 64, "gradient_accumulation_steps": 1}


def objective_defaults(objective: str) -> dict[str, Any]:
    """What an objective sets where nothing else does; nothing for those that read labels."""
    parts = set(objective.lower().split("+"))
    if "joint" in parts:
        return {}
    if "forecast" not in parts:
        return dict(COLES) if "coles" in parts else {}
    return {**FORECAST, **(FORECAST_ELBO if "elbo" in parts else {})}
