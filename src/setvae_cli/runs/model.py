"""From a checkpoint, or what was exported of one, back to a model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from setvae_cli.encoders.classifier import Classifier, Model
from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.errors import DataError, InputError
from setvae_cli.nn.build import build_model
from setvae_cli.nn.mlp_head import Mlp, MlpHead
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import Header, check_finite, read
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.store.vocabulary import Vocabulary

SHOWN = 3
COMMANDS: dict[str, type[TrainSettings]] = {
    each.command: each for each in (TrainSettings, FinetuneSettings)
}
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

    model: Model
    settings: TrainSettings
    vocabulary: Vocabulary
    header: Header

    @property
    def vae(self) -> SeqSetVAE:
        """The model, which has latents.

        Raises:
            InputError: It is the encoder of another package.
        """
        if isinstance(self.model, SeqSetVAE):
            return self.model
        raise InputError(
            "is a classifier on an encoder of another package, which has no latents",
            mend="name a model of setvae train",
        )


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
        model = build_model(
            settings.model,
            vocabulary,
            classes=classes,
            set_size_p99=set_size_p99,
            time_scale=time_scale,
            sigma_noise=settings.objective.sigma_noise,
            forecasts=settings.objective.has("forecast"),
        )
        if isinstance(settings, FinetuneSettings) and settings.tuning.head_hidden_dims is not None:
            old = model.head.embed
            model.head = MlpHead(
                old.in_features,
                old.out_features,
                dropout_joined=settings.model.joined_dropout,
                classify=_mlp(settings, old.out_features, classes),
            )
        return model


def build_classifier(
    settings: FinetuneSettings, encoder: SequenceEncoder, classes: tuple[int, ...], name: str
) -> Classifier:
    """A copy of another package's encoder, with an untrained head."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.run.seed)
        head = _mlp(settings, encoder.embedding_size, classes)
    return Classifier(copy.deepcopy(encoder), head, name)


def _mlp(settings: FinetuneSettings, inputs: int, classes: tuple[int, ...]) -> Mlp:
    return Mlp(
        inputs,
        settings.tuning.head_hidden_dims or (),
        outputs=max(sum(1 if n == 2 else n for n in classes), 1),
        activation=settings.tuning.activation,
        dropout=settings.model.head_dropout,
    )


def load_model(path: Path, encoder: SequenceEncoder | None = None) -> LoadedModel:
    """Open a checkpoint and rebuild its model, on the CPU.

    Args:
        path: The checkpoint.
        encoder: The encoder of another package that it was made with, if it was.

    Raises:
        InputError: It cannot be opened, or its weights do not fit the model it describes.
    """
    content = read(path)
    return rebuild(content.header, content.weights(), path, encoder)


def rebuild(
    header: Header,
    weights: Mapping[str, Tensor],
    path: Path,
    encoder: SequenceEncoder | None = None,
) -> LoadedModel:
    """The model that a header describes, with these weights.

    Args:
        header: Of the file.
        weights: All of the model's.
        path: The file, for errors.
        encoder: The encoder of another package that it was made with, if it was: a checkpoint
            never makes setvae run code that it names.

    Raises:
        InputError: The header is of another setvae, the weights do not fit it, or it needs an
            encoder.
    """
    settings = settings_of(header, path)
    try:
        vocabulary = Vocabulary.from_plain(header.vocabulary)
    except DataError as error:
        raise InputError(error.what, where=str(path)) from error
    check_size(settings, header.classes, weights, path, foreign=header.foreign is not None)
    model = _untrained(settings, vocabulary, header, path, encoder)
    load_weights(model, weights, path)
    return LoadedModel(model.eval(), settings, vocabulary, header)


def _untrained(
    settings: TrainSettings,
    vocabulary: Vocabulary,
    header: Header,
    path: Path,
    encoder: SequenceEncoder | None,
) -> Model:
    if header.foreign is None or not isinstance(settings, FinetuneSettings):
        return build_untrained(
            settings,
            vocabulary,
            classes=header.classes,
            set_size_p99=header.set_size_p99,
            time_scale=header.time_scale,
        )
    if encoder is None:
        raise InputError(
            f"needs the encoder {header.foreign:.80}, code of another package",
            where=str(path),
            mend="name it with --encoder in evaluate or embed; the others are for models of setvae",
        )
    return build_classifier(settings, encoder, header.classes, header.foreign)


def load_weights(model: Model, weights: Mapping[str, Tensor], path: Path) -> None:
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
    settings: TrainSettings,
    classes: tuple[int, ...],
    weights: Mapping[str, Tensor],
    path: Path,
    *,
    foreign: bool = False,
) -> None:
    """Make sure that a model is not larger than its weights, before memory is taken for it.

    Raises:
        InputError: Its settings describe more weights than there are.
    """
    held = sum(weight.numel() for weight in weights.values())
    if max(_sizes(settings, classes, foreign=foreign)) > held:
        raise InputError(
            "holds another architecture: its settings describe more weights than it has",
            where=str(path),
            mend=_UNCHANGED,
        )


def settings_class(header: Header, path: Path) -> type[TrainSettings]:
    """The settings of the command that wrote a checkpoint.

    Raises:
        InputError: This setvae has no such command.
    """
    if header.command not in COMMANDS:
        what = f"was written by a command of another setvae: {header.command!r:.40}"
        raise InputError(what, where=str(path), mend="install a newer setvae")
    return COMMANDS[header.command]


def settings_of(header: Header, path: Path) -> TrainSettings:
    """The settings that a header holds; paths are at their defaults.

    Raises:
        InputError: They are none of this setvae.
    """
    try:
        return settings_class(header, path).from_flat(header.settings)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise InputError(
            f"its settings are not those of this setvae: {place}",
            where=str(path),
            mend=f"use setvae {header.setvae_version}, which wrote it",
        ) from error


def _sizes(settings: TrainSettings, classes: tuple[int, ...], *, foreign: bool) -> list[int]:
    """Least numbers of weights of single parts."""
    model, sizes = settings.model, [*classes, 0]
    if isinstance(settings, FinetuneSettings):
        widths = settings.tuning.head_hidden_dims or ()
        sizes += [*widths, *(wide * narrow for wide, narrow in pairwise(widths))]
    if foreign:
        return sizes
    matrices = model.dim * max(model.dim * model.layers, model.latent_dim, model.ff_dim)
    vectors = (model.embedding_dim, model.variable_dim, model.variable_pools)
    return [*sizes, matrices, model.inducing_points, *vectors]
