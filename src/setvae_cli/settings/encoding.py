"""How the states of a model become one vector a subject."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from setvae_cli.settings.base import Settings


class EncodingSettings(Settings):
    """What is read from an encoder as a subject's row, where nothing is learned any more."""

    pool: Literal["embedding", "last", "mean"] = Field(
        "embedding",
        description="embedding: the model's own; or its last state, or the mean of its states.",
    )
    pool_of: Literal["history", "latents", "latents-logvar"] = Field(
        "history",
        description="States that last and mean read: of the history, posterior means, or these "
        "and their log-variances.",
    )

    @model_validator(mode="after")
    def _states_are_pooled(self) -> EncodingSettings:
        if self.pool == "embedding" and self.pool_of != "history":
            raise ValueError("pool_of says which states are pooled, and needs pool last or mean")
        return self
