"""From a checkpoint back to a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from setvae_cli.errors import InputError
from setvae_cli.nn.build import build_model
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import CheckpointContent, check_finite, read
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.vocabulary import Vocabulary

SHOWN = 3


@dataclass(frozen=True)
class LoadedModel:
    """A trained model and all that its inputs and outputs mean.

    Attributes:
        model: In evaluation mode, with the weights that validation saw.
        settings: Of its run; paths are at their defaults.
        vocabulary: Its codes and statistics.
        content: The checkpoint.
    """

    model: SeqSetVAE
    settings: TrainSettings
    vocabulary: Vocabulary
    content: CheckpointContent


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
    settings = TrainSettings.from_flat(content.header.settings)
    vocabulary = Vocabulary.from_plain(content.header.vocabulary)
    model = build_untrained(
        settings,
        vocabulary,
        classes=content.header.classes,
        set_size_p99=content.header.set_size_p99,
        time_scale=content.header.time_scale,
    )
    load_weights(model, content)
    return LoadedModel(model.eval(), settings, vocabulary, content)


def load_weights(model: SeqSetVAE, content: CheckpointContent) -> None:
    """Give a model the weights of a checkpoint, all of them.

    Raises:
        InputError: Names or shapes differ, or a weight is not finite.
    """
    weights = content.weights()
    check_finite(weights, content.path)
    own = model.state_dict()
    differing = sorted(
        name
        for name in weights.keys() | own.keys()
        if name not in weights or name not in own or weights[name].shape != own[name].shape
    )
    if differing:
        shown = ", ".join(differing[:SHOWN])
        what = f"holds another architecture: {len(differing)} weights differ ({shown})"
        raise InputError(what, where=str(content.path))
    kinds = {weight.dtype for weight in weights.values() if weight.is_floating_point()}
    if torch.float64 in kinds:
        model.double()
    model.load_state_dict(weights)
