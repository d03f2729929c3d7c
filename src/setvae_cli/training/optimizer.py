"""Adam or AdamW in groups: who learns at which rate, and who decays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.finetune import TunedOptimizerSettings
from setvae_cli.settings.optimizer import OptimizerSettings
from setvae_cli.training.schedules import lr_factor, warmup_steps

_TABLES = (nn.Embedding, nn.EmbeddingBag)


def build_optimizer(
    model: nn.Module,
    settings: OptimizerSettings,
    *,
    fused: bool,
    slow: tuple[Sequence[nn.Parameter], float] | None = None,
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), or Adam, over up to four groups.

    The set encoder, or what is named, learns at its own share of the rate; norms, biases and
    embeddings do not decay. Every group remembers its share as `share`.

    Args:
        model: The model that is trained.
        settings: Rate and decay.
        fused: One kernel for all weights; not with a gradient scaler.
        slow: Weights with a share of their own, and that share; None: the set encoder's.
    """
    if slow is None:
        assert isinstance(model, SeqSetVAE)
        slow = model.set_encoder_parameters(), settings.set_encoder_lr_ratio
    encoder = {id(parameter) for parameter in slow[0]}
    still = {id(parameter) for parameter in undecayed(model)}
    groups: list[dict[str, Any]] = []
    for share, inside in ((1.0, False), (slow[1], True)):
        for decay, exempt in ((settings.weight_decay, False), (0.0, True)):
            members = [
                parameter
                for parameter in model.parameters()
                if (id(parameter) in encoder) == inside and (id(parameter) in still) == exempt
            ]
            if members:
                decays = {"weight_decay": decay, "decays": not exempt}
                groups.append({"params": members, "share": share, **decays})
    coupled = isinstance(settings, TunedOptimizerSettings) and settings.optimizer == "adam"
    kind = torch.optim.Adam if coupled else torch.optim.AdamW
    return kind(groups, lr=settings.lr, fused=fused)


def undecayed(model: nn.Module) -> list[nn.Parameter]:
    """Norms, biases and other vectors, and embedding tables: all but the matrices of products.

    A matrix that multiplies is called `weight` here, as in torch; a table has its own name.
    """
    looked_up = [module for module in model.modules() if isinstance(module, _TABLES)]
    inside = {id(parameter) for table in looked_up for parameter in table.parameters()}
    return [
        parameter
        for name, parameter in model.named_parameters()
        if not name.endswith("weight") or parameter.ndim <= 1 or id(parameter) in inside
    ]


def set_rate(
    optimizer: torch.optim.Optimizer,
    settings: OptimizerSettings,
    *,
    step: int,
    planned: int,
    first_planned: int | None = None,
    lowered: float = 1.0,
) -> float:
    """Give every group the rate of a step.

    Args:
        optimizer: Made by `build_optimizer`.
        settings: Largest rate, warm-up, schedule.
        step: Optimizer steps done before this one.
        planned: Optimizer steps of the whole run.
        first_planned: Of a resumed run, those planned when it began.
        lowered: What a plateau has left of it.

    Returns:
        The rate of a group whose share is 1.
    """
    rising = warmup_steps(settings.lr_warmup, first_planned or planned)
    factor = lr_factor(step, planned, warmup=rising, cosine=settings.scheduler == "cosine")
    factor *= lowered
    for group in optimizer.param_groups:
        group["lr"] = settings.lr * factor * group["share"]
    return settings.lr * factor


def set_decay(optimizer: torch.optim.Optimizer, settings: OptimizerSettings) -> None:
    """Give every group that decays the decay of these settings; a checkpoint brings its own."""
    for group in optimizer.param_groups:
        if group["decays"]:
            group["weight_decay"] = settings.weight_decay
