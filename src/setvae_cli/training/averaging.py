"""A running average of a model's weights: what is evaluated and kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.training.schedules import averaging_decay

Model = TypeVar("Model", bound=nn.Module)


def averaged_copy(model: Model) -> Model:
    """A frozen copy in evaluation mode, where the average starts."""
    average = copy.deepcopy(model).requires_grad_(False)
    return average.eval()


@torch.no_grad()
def update_average(
    average: Sequence[Tensor], weights: Sequence[Tensor], *, step: int, decay: float
) -> None:
    """Move the average towards the weights after an optimizer step.

    Args:
        average: Parameters of `averaged_copy`.
        weights: Parameters that are trained, in the same order.
        step: Optimizer steps done, this one included.
        decay: Largest share of the old average that a step keeps.
    """
    torch._foreach_lerp_(list(average), list(weights), 1 - averaging_decay(step, decay))


def statistics(average: nn.Module | None, model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Buffers that move in training, as those of a BatchNorm of others, beside the average's own.

    Those of a SeqSetVAE are constants.
    """
    if average is None or isinstance(model, SeqSetVAE):
        return []
    return list(zip(average.buffers(), model.buffers(), strict=True))


@torch.no_grad()
def follow(buffers: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Give the average the model's own statistics."""
    for own, seen in buffers:
        own.copy_(seen)
