"""Adam or AdamW in groups: who learns at which rate, and who decays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.finetune import TunedOptimizerSettings
from setvae_cli.settings.optimizer import OptimizerSettings
from setvae_cli.training.schedules import lr_factor, warmup_steps

_TABLES = (nn.Embedding, nn.EmbeddingBag)
_NAMED = ("bias", "embed")  # what others call such a parameter that no module of torch holds


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

    In a model of setvae a matrix that multiplies is called `weight`, and a table has its own name.
    In an encoder of others it is what it is: a GRU calls its matrices `weight_ih_l0`.
    """
    ours = _inside(model, lambda module: isinstance(module, SeqSetVAE))
    still = _inside(model, lambda module: isinstance(module, _TABLES) or _is_norm(module))
    return [
        parameter
        for name, parameter in model.named_parameters()
        if id(parameter) in still
        or parameter.ndim <= 1
        or (not name.endswith("weight") if id(parameter) in ours else _is_vector(name, parameter))
    ]


def _inside(model: nn.Module, which: Callable[[nn.Module], bool]) -> set[int]:
    """Parameters of all parts that are meant, by identity."""
    parts = (module for module in model.modules() if which(module))
    return {id(parameter) for part in parts for parameter in part.parameters()}


def _is_norm(module: nn.Module) -> bool:
    """BatchNorm1d, LayerNorm, RMSNorm and those that others wrote."""
    return "Norm" in type(module).__name__ and not any(module.children())


def _is_vector(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter multiplies nothing: a first token [1, 1, size], a table of positions."""
    own = name.rpartition(".")[2].lower()
    alone = parameter.ndim > 2 and parameter.numel() == parameter.shape[-1]
    return alone or any(word in own for word in _NAMED)


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
