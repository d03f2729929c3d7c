"""What `setvae embed` is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from setvae_cli.settings.commands.trained import ModelOnDataSettings
from setvae_cli.settings.encoding import EncodingSettings
from setvae_cli.settings.prepare import GROUP_READABLE, SourceSettings, StoreSettings

_OTHERS = {".csv", ".tsv", ".json", ".npy", ".npz", ".pkl", ".h5", ".feather", ".arrow"}


class EmbedSettings(ModelOnDataSettings):
    """`setvae embed`: subjects to vectors, in a table that joins by subject id."""

    command: ClassVar[str] = "embed"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {"source": (), "store": ()}

    out: Path = Field(
        Path("embeddings.parquet"),
        description="The file that is written, with subject ids; it takes the place of an earlier "
        "one at the end.",
    )
    split: Literal["all", "train", "validation", "test"] = Field(
        "all", description="Which subjects are embedded."
    )
    with_labels: bool = Field(False, description="Write the labels too, as label.NAME.")
    encoder: str | None = Field(
        None,
        min_length=1,
        description="Someone else's encoder in place of a checkpoint, as module:attribute, or the "
        "one that the checkpoint was fine-tuned with; its code runs.",
    )
    encoder_checkpoint: Path | None = Field(
        None, description="Weights of --encoder: a file of tensors, in which no code runs."
    )
    batch_size: int = Field(64, ge=1, description="Subjects at once.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to compute.")
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
    group_readable: bool = Field(False, description=GROUP_READABLE)
    encoding: EncodingSettings = Field(default_factory=EncodingSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)

    @field_validator("out")
    @classmethod
    def _is_parquet(cls, out: Path) -> Path:
        if out.suffix.lower() in _OTHERS:
            raise ValueError(f"ends in {out.suffix}, and a Parquet file is written: use .parquet")
        return out

    @model_validator(mode="after")
    def _weights_are_of_an_encoder(self) -> EmbedSettings:
        if self.encoder_checkpoint is not None and self.encoder is None:
            raise ValueError("encoder_checkpoint needs encoder, the code that the weights are of")
        return self
