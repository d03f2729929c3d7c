"""What a source needs to know from the person; the settings of a command have these fields."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class SourceOptions(Protocol):
    """Read-only options, as `settings.prepare.SourceSettings` describes them."""

    @property
    def source(self) -> str:
        """Name of the layout, or auto."""
        ...

    @property
    def labels(self) -> Path | None:
        """File of outcomes."""
        ...

    @property
    def map(self) -> tuple[str, ...]:
        """ROLE=COLUMN pairs of a table."""
        ...

    @property
    def params_map_path(self) -> Path | None:
        """stats.csv of the seqsetvae layout, when elsewhere."""
        ...

    @property
    def embeddings_path(self) -> Path | None:
        """cached.csv of the seqsetvae layout, when elsewhere."""
        ...

    @property
    def subjects(self) -> int:
        """Size of the built-in cohort."""
        ...

    @property
    def cohort_seed(self) -> int:
        """Seed of the built-in cohort."""
        ...

    @property
    def skip_bad_files(self) -> bool:
        """Leave out and count files that cannot be read."""
        ...
