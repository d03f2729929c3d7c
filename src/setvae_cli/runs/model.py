"""From a checkpoint, or what was exported of one, back to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from setvae_cli.errors import DataError, InputError
from setvae_cli.nn.build import build_model
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import Header, check_finite, read
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.vocabulary import Vocabulary

SHOWN = 3
_UNCHANGED = "take a checkpoint as setvae wrote it, or train again"


@dataclass(frozen=True)
class LoadedModel:
    """A trained model and all that its inputs and outputs mean.

    Attributes:
        model: In evaluation mode, with the weights that validation saw.
        settings: Of its run; paths are at their defaults.
        vocabulary: Its codes and statistics.
        header: What its file says about it.
    """

    model: SeqSetVAE
    settings: TrainSettings
    vocabulary: Vocabulary
    header: Header


def build_untrained(
    settings: TrainSettings,
    vocabulary: Vocabulary,
    *,
    classes: tuple[int, ...],
    set_size_p99: float,
    time_scale: float,
) -> SeqSetVAE:
    """The untrained model of a run; its first weights are a function of the run's seed."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.run.seed)
        return build_model(
            settings.model,
            vocabulary,
            classes=classes,
            set_size_p99=set_size_p99,
            time_scale=time_scale,
            sigma_noise=settings.objective.sigma_noise,
        )


def load_model(path: Path) -> LoadedModel:
    """Open a checkpoint and rebuild its model, on the CPU.

    Raises:
        InputError: It cannot be opened, or its weights do not fit the model it describes.
    """
    content = read(path)
    return rebuild(content.header, content.weights(), path)


def rebuild(header: Header, weights: Mapping[str, Tensor], path: Path) -> LoadedModel:
    """The model that a header describes, with these weights.

    Args:
        header: Of the file.
        weights: All of the model's.
        path: The file, for errors.

    Raises:
        InputError: The header is of another setvae, or the weights do not fit it.
    """
    settings = _settings(header, path)
    try:
        vocabulary = Vocabulary.from_plain(header.vocabulary)
    except DataError as error:
        raise InputError(error.what, where=str(path)) from error
    check_size(settings, header.classes, weights, path)
    model = build_untrained(
        settings,
        vocabulary,
        classes=header.classes,
        set_size_p99=header.set_size_p99,
        time_scale=header.time_scale,
    )
    load_weights(model, weights, path)
    return LoadedModel(model.eval(), settings, vocabulary, header)


def load_weights(model: SeqSetVAE, weights: Mapping[str, Tensor], path: Path) -> None:
    """Give a model the weights of a file, all of them.

    Raises:
        InputError: Names or shapes differ, or a weight is not finite.
    """
    own = model.state_dict()
    differing = sorted(
        name
        for name in weights.keys() | own.keys()
        if name not in weights or name not in own or weights[name].shape != own[name].shape
    )
    if differing:
        shown = ", ".join(differing[:SHOWN])
        what = f"holds another architecture: {len(differing)} weights differ ({shown})"
        raise InputError(what, where=str(path), mend=_UNCHANGED)
    check_finite(weights, path)
    kinds = {weight.dtype for weight in weights.values() if weight.is_floating_point()}
    if torch.float64 in kinds:
        model.double()
    model.load_state_dict(weights)


def check_size(
    settings: TrainSettings, classes: tuple[int, ...], weights: Mapping[str, Tensor], path: Path
) -> None:
    """Make sure that a model is not larger than its weights, before memory is taken for it.

    Raises:
        InputError: Its settings describe more weights than there are.
    """
    held = sum(weight.numel() for weight in weights.values())
    model = settings.model
    matrices = model.dim * max(model.dim * model.layers, model.latent_dim, model.ff_dim)
    vectors = (model.embedding_dim, model.variable_dim, model.variable_pools, *classes)
    if max(matrices, model.inducing_points, *vectors) > held:
        raise InputError(
            "holds another architecture: its settings describe more weights than it has",
            where=str(path),
            mend=_UNCHANGED,
        )


def _settings(header: Header, path: Path) -> TrainSettings:
    try:
        return TrainSettings.from_flat(header.settings)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise InputError(
            f"its settings are not those of this setvae: {place}",
            where=str(path),
            mend=f"use setvae {header.setvae_version}, which wrote it",
        ) from error
