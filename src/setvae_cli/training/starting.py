"""Where fine-tuning starts: a trained model's codes, architecture and weights, all of them.

    checkpoint, or exported model -> header -> architecture, codes, sizes -> model -> body loaded

The body is all but the layers that predict: the head is made anew, and heads of label-free training
are of no use any more. Below a full match of the body nothing is loaded unless that is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from setvae_cli.data.portion import Portion
from setvae_cli.encoders.weights import Match, match
from setvae_cli.errors import InputError, RunError, SettingsError
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import Header, check_finite, is_intact, read
from setvae_cli.runs.export import begins_as_exported, read_exported
from setvae_cli.runs.model import settings_of
from setvae_cli.runs.original import read_original
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.settings.finetune import TunedModelSettings
from setvae_cli.store.vocabulary import Vocabulary

HEAD, EMBED = "head.", "head.embed."
CHANGEABLE = ("joined_dropout", "input_dropout")
FIXED = ("preset", "objective", "pred_weight", "dynamic_weights", "set_encoder_lr_ratio")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """A trained model to start from.

    Attributes:
        path: Its file.
        header: What it says about itself.
        states: Its weights, as evaluated ones and as they lie in the file.
    """

    path: Path
    header: Header
    states: tuple[Mapping[str, Tensor], ...]


def open_origin(path: Path) -> Origin:
    """Open a checkpoint, or what was exported of one.

    Raises:
        InputError: It cannot be opened, is of the original SeqSetVAE, or is a classifier on the
            encoder of another package.
    """
    origin = _opened(path)
    if origin.header.foreign is not None:
        raise InputError(
            f"holds the encoder {origin.header.foreign:.80} of another package",
            where=str(path),
            mend="name its code with --encoder, and its weights with --encoder-checkpoint",
        )
    return origin


def check_given(settings: FinetuneSettings, *, foreign: bool = False) -> None:
    """Refuse options that fine-tuning takes from the checkpoint, or has no use for.

    Args:
        settings: Of the command.
        foreign: Whether an encoder of another package is given in another way than by its name.

    Raises:
        SettingsError: One is given.
    """
    if settings.tuning.pool is not None and not (foreign or settings.tuning.encoder):
        what = "is for the states of --encoder, and a checkpoint has its own embedding"
        raise SettingsError(what, where="--pool", mend="leave it out")
    fields = settings.fields()
    for name in settings.given():
        kept = name in (*CHANGEABLE, "head_dropout")
        if name in FIXED or (fields[name].section == "model" and not kept):
            ours = "--head-dropout" if name == "dropout" else None
            raise SettingsError(
                "is fixed in fine-tuning: the architecture is that of the checkpoint",
                where=fields[name].option,
                mend=f"leave it out; dropout of the head is {ours}" if ours else "leave it out",
            )


def with_architecture(settings: FinetuneSettings, header: Header, path: Path) -> FinetuneSettings:
    """Settings with the architecture of a checkpoint, and the dropout that is theirs.

    Raises:
        InputError: The checkpoint's settings are none of this setvae.
    """
    known = settings_of(header, path).model.model_dump()
    own = settings.model.model_dump()
    given = [name for name in CHANGEABLE if name in settings.model.model_fields_set]
    changed = {name: own[name] for name in ("head_dropout", *given)}
    model = TunedModelSettings.model_validate({**known, **changed})
    return settings.model_copy(update={"model": model})


def with_sizes(portion: Portion, header: Header) -> Portion:
    """Rows of a store with the codes, statistics and sizes of a trained model."""
    sizes = {
        "set_size_p99": header.set_size_p99,
        "time_scale": header.time_scale,
        "sets_per_subject": header.sets_per_subject,
    }
    return replace(
        portion,
        vocabulary=Vocabulary.from_plain(header.vocabulary),
        shape=portion.shape.model_copy(update=sizes),
    )


def load_body(model: SeqSetVAE, origin: Origin, *, allow_partial: bool) -> Match:
    """Give a model the weights of its origin, but for the layers that predict.

    Args:
        model: Of the origin's architecture.
        origin: Where the weights are.
        allow_partial: Go on without some of them.

    Returns:
        What was loaded, and what not.

    Raises:
        RunError: Some are missing or do not fit, or nothing fits.
        InputError: A weight is not finite.
    """
    body = {name: weight for name, weight in model.state_dict().items() if is_body(name)}
    found = max((match(body, state) for state in origin.states), key=lambda one: len(one.weights))
    if not found.weights or not (found.whole or allow_partial):
        raise RunError(
            f"does not fit the model it describes: {found.told()}",
            where=str(origin.path),
            mend="take another checkpoint, or start from what fits with --allow-partial",
        )
    check_finite(found.weights, origin.path)
    model.load_state_dict(found.weights, strict=False)
    return replace(found, unused=())  # heads of training, which are made anew


def is_body(name: str) -> bool:
    """Whether a weight of this name is kept: all but the layers that predict."""
    return not name.startswith(HEAD) or name.startswith(EMBED)


def told(found: Match) -> str:
    """What was loaded, in one line.

    >>> told(Match({}, ("embed.rows",), (), (), ""))
    '0 weights, 1 missing (embed.rows), 0 mismatched'
    """
    parts = [f"{len(found.weights)} weights"]
    named = [("missing", found.missing), ("mismatched", found.mismatched)]
    named += [("of the file unused", found.unused)] if found.unused else []
    for word, names in named:
        shown = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
        parts.append(f"{len(names)} {word}{shown}")
    return ", ".join(parts)


def counts(found: Match) -> dict[str, str | int]:
    """The same as plain values, for the run's manifest."""
    return {
        "loaded": len(found.weights),
        "missing": len(found.missing),
        "mismatched": len(found.mismatched),
        **({"unused": len(found.unused)} if found.unused else {}),
    }


def _opened(path: Path) -> Origin:
    if path.is_file() and begins_as_exported(path):
        exported = read_exported(path)
        return Origin(path, exported.header, (exported.weights,))
    try:
        content = read(path)
    except InputError:
        if is_intact(path) and read_original(path) is not None:
            raise InputError(
                "is a checkpoint of the original SeqSetVAE, whose layers are not those of setvae",
                where=str(path),
                mend="train one with setvae train --preset original",
            ) from None
        raise
    state = content.payload.get("state_dict")
    tensors = {n: t for n, t in (state or {}).items() if isinstance(t, Tensor)}
    return Origin(path, content.header, (content.weights(), tensors))
