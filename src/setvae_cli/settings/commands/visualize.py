"""What `setvae visualize` is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from setvae_cli.settings.commands.trained import ModelOnDataSettings
from setvae_cli.settings.prepare import GROUP_READABLE, SourceSettings, StoreSettings


class VisualizeSettings(ModelOnDataSettings):
    """`setvae visualize`: what the latents of a trained model look like."""

    command: ClassVar[str] = "visualize"
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {"source": (), "store": ()}

    save_dir: Path | None = Field(
        None,
        description="Folder of the files that are written; default: report/latents in the run, "
        "with another split, data or checkpoint than usual in its name.",
    )
    split: Literal["train", "validation", "test"] = Field(
        "validation", description="Which subjects are looked at."
    )
    max_batches: int | None = Field(
        None,
        ge=1,
        description="Look at so many batches of subjects only, a random choice; default: all.",
    )
    batch_size: int = Field(32, ge=1, description="Subjects at once.")
    method: Literal["umap", "pca", "tsne"] = Field(
        "umap", description="How latents are laid out in two dimensions."
    )
    sample_idx: tuple[int, ...] = Field(
        (),
        description="Row numbers of subjects whose time series are drawn, as 3,17; default: four "
        "that are spread over the predicted risk.",
    )
    show_values: bool = Field(
        False,
        description="Draw time series, which show patients' values; those of the simulated "
        "cohort always are.",
    )
    show_ids: bool = Field(False, description="Write subject ids into latents.parquet.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the layout and of random choices.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to compute.")
    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
    group_readable: bool = Field(False, description=GROUP_READABLE)
    source: SourceSettings = Field(default_factory=SourceSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
