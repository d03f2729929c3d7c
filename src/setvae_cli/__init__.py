"""Set variational autoencoders for irregular clinical data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from setvae_cli.training.finetune import finetune as finetune

__all__ = ["finetune"]


def __getattr__(name: str) -> Any:
    """What this package offers to Python; loaded when it is asked for, as torch takes seconds."""
    if name == "finetune":
        from setvae_cli.training.finetune import finetune

        return finetune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
