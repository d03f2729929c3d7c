"""A running average of a model's weights: what is evaluated and kept."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from setvae_cli.training.schedules import averaging_decay

Model = TypeVar("Model", bound=nn.Module)


def averaged_copy(model: Model) -> Model:
    """A frozen copy in evaluation mode, where the average starts."""
    average = copy.deepcopy(model).requires_grad_(False)
    return average.eval()


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, *, step: int, decay: float) -> None:
    """Move the average towards the model after an optimizer step.

    Args:
        average: Made by `averaged_copy`.
        model: The weights that are trained.
        step: Optimizer steps done, this one included.
        decay: Largest share of the old average that a step keeps.
    """
    new = [parameter.detach() for parameter in model.parameters()]
    old: list[torch.Tensor] = list(average.parameters())
    torch._foreach_lerp_(old, new, 1 - averaging_decay(step, decay))
