"""Which fold of a cross-validation a run belongs to, and how many of its labels it may read."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from setvae_cli.settings.base import Settings


class FoldSettings(Settings):
    """A fold in place of the store's own splits: a pure function of the store and of these."""

    folds: int | None = Field(
        None,
        ge=2,
        description="Parts of a stratified cross-validation, in place of the store's splits.",
    )
    fold: int | None = Field(
        None,
        ge=0,
        description="The part that is the test split, from 0; a fifth of the others chooses.",
    )
    repeat: int = Field(0, ge=0, description="Which way of dealing out the folds, from 0.")
    fold_seed: int = Field(0, ge=0, lt=2**31, description="Seed of the folds.")
    fold_label: str | None = Field(
        None,
        min_length=1,
        description="Label that folds are stratified by; default: the store's first.",
    )
    label_fraction: tuple[float, ...] = Field(
        (1.0,),
        description="Share of the training and validation labels that may be read, a stratified "
        "choice; smaller shares lie inside larger ones. Of several shares or folds, "
        "epochs and patience are divided by the root of a share.",
    )

    @field_validator("label_fraction", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return (given,) if isinstance(given, int | float | str) else given

    @field_validator("label_fraction")
    @classmethod
    def _shares(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not shares or not all(0 < share <= 1 for share in shares):
            raise ValueError("must be shares above 0 and at most 1")
        return tuple(sorted(set(shares)))

    @model_validator(mode="after")
    def _fits_together(self) -> FoldSettings:
        if self.folds is None and self.fold is not None:
            raise ValueError("fold needs folds, the number of parts")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            last = self.folds - 1
            raise ValueError(f"fold is {self.fold}, and {self.folds} folds are 0 to {last}")
        return self

    def at(self, repeat: int, fold: int, fraction: float = 1.0) -> FoldSettings:
        """The same folds, one of them, with a share of the labels."""
        place = {"repeat": repeat, "fold": fold, "label_fraction": (fraction,)}
        return self.model_copy(update=place)
