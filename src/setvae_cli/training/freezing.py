"""Which weights rest, as a function of the step and the epoch: nothing is remembered.

    stage 0   the head learns
    stage 1   with --unfreeze stages: history, pooling, variable axis and the embedding too
    stage 2   all

A frozen part requires no gradient, so that no optimizer and no average moves it, and it is in
evaluation mode, so that its dropout is off and its norms keep their statistics.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from torch import nn

from setvae_cli.encoders.classifier import Classifier, Model
from setvae_cli.errors import SettingsError
from setvae_cli.numbers import count
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.settings.finetune import Frozen

HEAD, JOINED, ALL = range(3)
_log = logging.getLogger(__name__)


class Freezing:
    """Freezes parts of a model in training, and lets them learn again.

    Args:
        model: The model.
        frozen: Until when its parts rest.
        keeps_elbo: Whether the terms of the VAE are in the loss; where they are not, what only
            they read rests for good.

    Raises:
        SettingsError: It is to learn in stages, and its parts are not known.
    """

    def __init__(self, model: Model, frozen: Frozen, *, keeps_elbo: bool) -> None:
        self._frozen = frozen
        self._parts = _parts(model)
        if isinstance(model, Classifier) and len(frozen.bounds) > 1:
            raise SettingsError(
                "the parts of an encoder of another package are not known",
                where="--unfreeze stages",
                mend="use --unfreeze at-once",
            )
        self._unread = [] if keeps_elbo else list(_unread(model))
        for part in self._unread:
            part.requires_grad_(False)
        unread = {id(weight) for part in self._unread for weight in part.parameters()}
        self._encoder = [one for one in encoder_parameters(model) if id(one) not in unread]

    def stage(self, step: int, epoch: int) -> int:
        """Up to where weights learn, after so many optimizer steps and epochs.

        >>> rests = Freezing.__new__(Freezing)
        >>> rests._frozen = Frozen((2, 5), "epochs")
        >>> [rests.stage(0, epoch) for epoch in (0, 1, 2, 4, 5)]
        [0, 0, 1, 1, 2]
        """
        if self._frozen.unit == "always":
            return HEAD
        done = epoch if self._frozen.unit == "epochs" else step
        passed = sum(done >= bound for bound in self._frozen.bounds)
        return ALL if passed == len(self._frozen.bounds) else passed

    def apply(self, step: int, epoch: int) -> None:
        """Let every part rest or learn as the step asks for; also after `train()` woke all."""
        stage = self.stage(step, epoch)
        for part, first in self._parts:
            rests = first > stage
            if rests or not part.training:
                part.train(not rests)
            _set(part, learns=not rests)
        for part in self._unread:
            part.requires_grad_(False)
            part.eval()

    @property
    def share(self) -> float:
        """Share of the encoder's weights that rest now; those that rest for good do not count."""
        resting = sum(w.numel() for w in self._encoder if not w.requires_grad)
        return resting / max(sum(weight.numel() for weight in self._encoder), 1)


def warn_of_rest(settings: FinetuneSettings, *, steps: int, epochs: int) -> None:
    """Say where a part of the encoder is to learn behind the planned end, that is never.

    Args:
        settings: Of the run.
        steps, epochs: That are planned.
    """
    frozen = settings.tuning.frozen
    planned = epochs if frozen.unit == "epochs" else steps
    late = [bound for bound in frozen.bounds if bound >= planned]
    if not late:
        return
    _log.warning(
        "%s: %s has none of the %s planned to learn in; lower the bound of %s, or raise %s",
        settings.tuning.freeze_option,
        "the encoder" if len(late) == len(frozen.bounds) else "a part of the encoder",
        _counted(planned, frozen.unit),
        _counted(late[0], frozen.unit),
        "--max-epochs" if settings.optimizer.max_steps is None else "--max-steps",
    )


def _counted(number: int, unit: str) -> str:
    return f"{count(number)} {unit.removesuffix('s') if number == 1 else unit}"


def encoder_parameters(model: Model) -> list[nn.Parameter]:
    """All parameters but those of the new head."""
    return [weight for part, first in _parts(model) if first for weight in part.parameters()]


def _set(part: nn.Module, *, learns: bool) -> None:
    for weight in part.parameters():
        if weight.requires_grad != learns:
            weight.requires_grad_(learns)


def _parts(model: Model) -> list[tuple[nn.Module, int]]:
    """Parts of the encoder and the stage in which each begins to learn."""
    if isinstance(model, Classifier):
        return [(model.encoder, ALL)]
    joined = (
        model.time, model.history, model.past, model.pooling, model.variables,
        model.head.dropout_joined, model.head.embed,
    )  # fmt: skip
    sets = (model.knots, model.embed, model.encoder, model.latents, model.decoder)
    return [
        *((part, JOINED) for part in joined if part is not None),
        *((part, ALL) for part in sets),
    ]


def _unread(model: Model) -> Iterator[nn.Module]:
    """Parts that only the terms of the VAE read."""
    if isinstance(model, Classifier):
        return
    parts = (model.decoder, model.past, model.latents.prior)
    yield from (each for each in parts if each is not None)
