"""A checkpoint of the original SeqSetVAE: recognised by its names, described, never executed.

    {"state_dict": {"setvae.setvae. ...", "transformer.layers.0. ...", "pos_embedding", ...},
     "hyper_parameters": {...}, "epoch": 3, "global_step": 1840, "pytorch-lightning_version": ...}

It opens with `weights_only=True`, and its tensors stay in the file until they are counted. Of its
hyper-parameters only numbers and short words are told: the others hold paths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from setvae_cli.runs.checkpoint import HEADER, open_plain
from setvae_cli.runs.claims import check_claims

SURE = "setvae.setvae."
PARTS: dict[str, str] = {
    SURE: "set VAE",
    "setvae.": "set VAE",
    "transformer.layers.": "transformer",
    "pos_embedding": "position embedding",
    "time_encoder": "time encoder",
    "decoder.": "decoder",
    "cls_head": "classifier",
}
FEWEST_PARTS = 3  # without the prefix that no other model has
OTHER = "other"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,23}")


@dataclass(frozen=True)
class PartStatistics:
    """The weights of one part.

    Attributes:
        name: What it is.
        tensors, parameters: Counts.
        mean, std, largest: Of its numbers; the largest by magnitude. NaN where none is finite.
        not_finite: Numbers that are NaN or infinite.
    """

    name: str
    tensors: int
    parameters: int
    mean: float
    std: float
    largest: float
    not_finite: int


@dataclass(frozen=True)
class OriginalCheckpoint:
    """What a checkpoint of the original says of itself.

    Attributes:
        bytes: Size of the file.
        epoch, step: Where training was; None where it does not say.
        lightning: Version of the trainer; empty where it does not say.
        architecture: What the shapes of the weights tell, by name.
        hyper_parameters: Numbers and short words.
        parts: The weights, part by part.
    """

    bytes: int
    epoch: int | None
    step: int | None
    lightning: str
    architecture: dict[str, int]
    hyper_parameters: dict[str, bool | int | float | str]
    parts: tuple[PartStatistics, ...]

    @property
    def parameters(self) -> int:
        """Numbers of all parts."""
        return sum(part.parameters for part in self.parts)


def read_original(path: Path) -> OriginalCheckpoint | None:
    """Describe a checkpoint of the original, alone or with what its trainer saved beside it.

    Returns:
        None where it is something else.

    Raises:
        InputError: It cannot be opened, holds code, or claims to hold more than its file does.
    """
    payload = open_plain(path, mapped=True)
    if not isinstance(payload, dict) or HEADER in payload:
        return None
    inner = payload.get("state_dict", payload)
    weights = _weights(inner) if isinstance(inner, dict) else {}
    if not is_original(weights):
        return None
    check_claims(weights, path)
    about = payload if inner is not payload else {}
    return OriginalCheckpoint(
        bytes=path.stat().st_size,
        epoch=_whole(about.get("epoch")),
        step=_whole(about.get("global_step")),
        lightning=_word(about.get("pytorch-lightning_version")),
        architecture=architecture(weights),
        hyper_parameters=_told(about.get("hyper_parameters")),
        parts=tuple(_statistics(weights)),
    )


def is_original(names: Iterable[str]) -> bool:
    """Whether weights of these names are those of an original model."""
    found = {prefix for name in names for prefix in PARTS if name.startswith(prefix)}
    return SURE in found or len(found) >= FEWEST_PARTS


def architecture(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Sizes that follow from names and shapes; what does not is left out."""
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    layers = {name.split(".")[2] for name in shapes if name.startswith("transformer.layers.")}
    found = {"transformer_layers": len(layers)} if layers else {}
    feed_forward = shapes.get("transformer.layers.0.linear1.weight", ())
    if len(feed_forward) == 2:
        found |= {"ff_dim": feed_forward[0], "dim": feed_forward[1]}
    positions = shapes.get("pos_embedding", ())
    if len(positions) >= 2:
        found["positions"] = positions[-2]
    classes = [s for name, s in shapes.items() if name.startswith("cls_head") and len(s) == 2]
    if classes:
        found["classes"] = classes[-1][0]
    return found


def _weights(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in state.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }


def _statistics(weights: Mapping[str, Tensor]) -> Iterable[PartStatistics]:
    by_part: dict[str, list[Tensor]] = {}
    for name, tensor in weights.items():
        prefix = next((each for each in PARTS if name.startswith(each)), None)
        by_part.setdefault(PARTS[prefix] if prefix else OTHER, []).append(tensor)
    for part, tensors in by_part.items():
        yield _of_part(part, tensors)


def _of_part(name: str, tensors: list[Tensor]) -> PartStatistics:
    """Moments summed tensor by tensor: a part need not fit the memory at once."""
    count, parameters, total, squares, largest = 0, 0, 0.0, 0.0, 0.0
    for tensor in tensors:
        numbers = tensor.detach().double().flatten()
        finite = numbers[torch.isfinite(numbers)]
        parameters, count = parameters + len(numbers), count + len(finite)
        if len(finite):
            total, squares = total + float(finite.sum()), squares + float(finite.square().sum())
            largest = max(largest, float(finite.abs().max()))
    mean = total / count if count else math.nan
    std = math.sqrt(max(squares / count - mean**2, 0.0)) if count else math.nan
    return PartStatistics(
        name=name,
        tensors=len(tensors),
        parameters=parameters,
        mean=mean,
        std=std,
        largest=largest if count else math.nan,
        not_finite=parameters - count,
    )


def _told(hyper_parameters: Any) -> dict[str, bool | int | float | str]:
    if not isinstance(hyper_parameters, Mapping):
        return {}
    return {
        name: value
        for name, value in hyper_parameters.items()
        if _word(name) and (_is_number(value) or _word(value))
    }


def _is_number(value: Any) -> bool:
    return type(value) in (bool, int) or (type(value) is float and math.isfinite(value))


def _word(value: Any) -> str:
    """A short word or version; empty for anything else, such as a path."""
    if not isinstance(value, str):
        return ""
    version = re.fullmatch(r"\d+(\.\w+){1,3}", value)
    return value if version or _WORD.fullmatch(value) else ""


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
