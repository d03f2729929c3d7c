"""The original's four numbers, kept for comparison; no verdict reads them.

On synthetic posteriors a collapsed one has the "healthy" variance 1 and all units "active", and a
sharp one that knows everything about its sets is called collapsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from setvae_cli.monitor.measures import LevelMeasures

ACTIVE_ABOVE = 0.01

CAVEATS = {
    "kl_divergence": "high also where a constant mean says nothing; compare with the information",
    "variance": "1.0 is the prior itself, so a collapsed posterior looks healthy",
    "active_units": "counts variance above 0.01, which a collapsed posterior always has",
    "reconstruction_loss": "falls as well when the decoder learns to do without latents",
}


def legacy(levels: Sequence[LevelMeasures], recon: float | None) -> dict[str, float]:
    """The numbers as the original made them, all levels together.

    Args:
        levels: Figures of each level.
        recon: Reconstruction, nats a set; None where it was not measured.

    Returns:
        KL in nats a set, mean posterior variance, share of dimensions with variance above 0.01,
        and reconstruction where it is known.
    """
    variance = [each for level in levels for each in level.dimensions.plain_variance]
    found = {
        "kl_divergence": sum(level.kl for level in levels),
        "variance": sum(variance) / len(variance),
        "active_units": sum(each > ACTIVE_ABOVE for each in variance) / len(variance),
    }
    return found if recon is None else found | {"reconstruction_loss": recon}
