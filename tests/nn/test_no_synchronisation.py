"""A step asks no device for a number: a GPU would first finish all that came before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from setvae_cli.losses.objective import loss_terms, total, weights_at
from setvae_cli.settings.objective import ObjectiveSettings
from tests.models import ARCHITECTURES, CLASSES, make_batch, make_model

ASKING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "equal",
    "is_nonzero",
    "repeat_interleave",
)


class NoQuestions(TorchDispatchMode):
    """Fails where the size or the branch of something depends on a tensor's numbers."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        asks = any(name.startswith(word) for word in ASKING)
        masks = [a for a in args[1] if a is not None] if name in ("index", "index_put_") else []
        if asks or any(mask.dtype == torch.bool for mask in masks):
            raise AssertionError(f"{name} asks the device for a number")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_forward_loss_and_backward_ask_the_device_for_no_number(name: str) -> None:
    model, settings = make_model(name).train(), ObjectiveSettings(label_smoothing=0.1)
    batch = make_batch([[2, 5, 1], [7, 7], [1, 1, 1, 4], [3]])
    with NoQuestions():
        output = model(batch, noise_seed=0)
        terms = loss_terms(model, output, batch, settings, classes=CLASSES, noise_seed=0)
        total(terms, weights_at(10, 20, settings), batch, 2.5).backward()


def test_a_question_is_noticed() -> None:
    x = torch.ones(3)
    with NoQuestions(), pytest.raises(AssertionError, match="asks the device"):
        bool(x.sum() > 2)
    with NoQuestions(), pytest.raises(AssertionError, match="asks the device"):
        x[x > 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["base", "original"])
def test_a_step_on_a_gpu_never_waits(name: str) -> None:
    model, settings = make_model(name).float().cuda().train(), ObjectiveSettings()
    batch = make_batch([[2, 5, 1], [7, 7], [1, 1, 1, 4], [3]])
    batch = replace(batch, values=batch.values.float(), positions=batch.positions.float())
    batch = batch.to("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        output = model(batch, noise_seed=0)
        terms = loss_terms(model, output, batch, settings, classes=CLASSES, noise_seed=0)
        total(terms, weights_at(10, 20, settings), batch, 2.5).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
