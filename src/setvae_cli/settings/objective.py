"""What training minimises, and how the weights of its parts move."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from setvae_cli.settings.base import Settings

PARTS = ("elbo", "joint", "forecast", "coles")
LABEL_FREE = "elbo"  # what joint is without labels


class ObjectiveSettings(Settings):
    """Parts, weights and regularisers.

    A subject's loss is the sum of its parts: elbo is sum_t [recon + beta KL], joint is elbo and
    w * prediction, forecast is what follows a random cut and what was hidden, coles tells slices of
    one subject from those of others. Without joint nothing reads a label.
    """

    objective: str = Field(
        "joint",
        description="elbo, joint (elbo and prediction), forecast (of what follows a random cut), "
        "coles (contrastive), or a sum such as elbo+forecast; only joint reads labels.",
    )
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
    forecast_weight: float = Field(
        1.0, ge=0, description="Weight of what is forecast of the time behind the cut."
    )
    masked_weight: float = Field(
        0.2, ge=0, description="With forecast: weight of values hidden by --input-dropout."
    )
    forecast_cut: tuple[float, float] = Field(
        (0.125, 1.0),
        description="With forecast: first and last time of a cut, as shares of the time scale "
        "(95 % of training subjects are shorter), from a subject's first set.",
    )
    forecast_cut_share: float = Field(
        0.85, gt=0, le=1, description="With forecast: share of subjects that are cut."
    )
    forecast_horizon: float = Field(
        0.5, gt=0, description="With forecast: time behind a cut, as a share of the time scale."
    )
    coles_weight: float = Field(1.0, ge=0, description="Weight of the contrastive loss.")
    coles_slices: int = Field(5, ge=2, description="With coles: slices of each subject.")
    coles_sets: tuple[float, float] = Field(
        (0.2, 0.8),
        description="With coles: sets of the shortest and of the longest slice; below 1: a share "
        "of the subject's sets.",
    )
    coles_negatives: int = Field(
        5, ge=1, description="With coles: nearest slices of others that each slice is kept from."
    )
    coles_margin: float = Field(
        0.5, gt=0, le=2, description="With coles: distance from which others cost nothing."
    )
    sigma_noise: float = Field(
        0.0,
        ge=0,
        description="Relative noise on posterior sigma in training: the sampled "
        "posterior is wider than the one in the KL term.",
    )

    @property
    def parts(self) -> frozenset[str]:
        """What is summed."""
        return frozenset(self.objective.split("+"))

    def has(self, part: str) -> bool:
        """Whether a part is summed; joint holds elbo."""
        return part in self.parts or (part == LABEL_FREE and "joint" in self.parts)

    @property
    def sees_whole(self) -> bool:
        """Whether validation sees whole subjects: for the elbo, and for labels."""
        return self.has("elbo") or self.has("joint")

    @property
    def reads_labels(self) -> bool:
        """Whether training reads labels."""
        return self.has("joint") and self.pred_weight > 0

    @property
    def keeps_elbo(self) -> bool:
        """Whether any term of the VAE has a weight."""
        terms = (self.max_beta, self.recon_weight, self.variance_regularizer, self.mean_regularizer)
        return any(terms)

    @property
    def only_predicts(self) -> bool:
        """Whether prediction is all that the loss is made of."""
        beside = {
            "elbo": self.keeps_elbo,
            "forecast": self.forecast_weight or self.masked_weight,
            "coles": self.coles_weight,
        }
        return self.reads_labels and not any(self.has(part) and beside[part] for part in beside)

    @field_validator("objective")
    @classmethod
    def _known_parts(cls, given: str) -> str:
        parts = [part.strip() for part in given.lower().split("+")]
        for part in parts:
            if part not in PARTS:
                named = repr(part) if part else "an empty part"
                raise ValueError(f"has {named}; its parts are {', '.join(PARTS)}, joined by +")
            if parts.count(part) > 1:
                raise ValueError(f"names {part} twice; name each part once")
        if {"joint", "elbo"} <= set(parts):
            raise ValueError("names elbo beside joint, which holds it; leave elbo out")
        return "+".join(parts)

    @model_validator(mode="after")
    def _something_to_train(self) -> ObjectiveSettings:
        first, last = self.forecast_cut
        if not 0 < first <= last:
            raise ValueError("forecast_cut must be two shares above 0, the smaller first")
        least, most = self.coles_sets
        if not (least > 0 and most > 0 and (least <= most or least < 1 <= most)):
            raise ValueError("coles_sets must be two numbers above 0, the smaller first")
        weights = {
            "elbo": (self.max_beta, self.recon_weight),
            "joint": (self.max_beta, self.recon_weight, self.pred_weight),
            "forecast": (self.forecast_weight, self.masked_weight),
            "coles": (self.coles_weight,),
        }
        if not any(any(weights[part]) for part in self.parts):
            raise ValueError(
                f"objective {self.objective} has nothing to train: all of its weights are 0"
            )
        return self
