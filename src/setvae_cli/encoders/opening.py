"""Encoders of others, from what a person writes behind `--encoder` and `--encoder-checkpoint`."""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from setvae_cli.encoders.callable import CallableEncoder
from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.encoders.lifestream import NO_STATES, POOL, LifestreamEncoder
from setvae_cli.encoders.pooling import Over
from setvae_cli.encoders.shape import size_of
from setvae_cli.encoders.weights import Match, match
from setvae_cli.errors import InputError, SettingsError, SetvaeError
from setvae_cli.files import check_regular

OPTION = "--encoder"


def open_encoder(
    name: str,
    *,
    codes: int,
    checkpoint: Path | None = None,
    pool: Over | None = None,
    seed: int | None = None,
) -> SequenceEncoder:
    """The encoder that a person names, in evaluation mode.

    What stands under the name is a module, or a factory of one (a class, or a function without
    embedding_size), which is given `codes` when it has a parameter of that name; or a callable with
    embedding_size. A module that has `encode` is given a `SetBatch`, all else a `PaddedBatch`.

    What is opened is nobody else's: a module that stands there is copied, so that each opening has
    the weights that its code gave it. Such a module has the same first weights for every seed; a
    factory makes them anew.

    Args:
        name: `module:attribute`; modules of the current folder are found too.
        codes: Codes of the vocabulary.
        checkpoint: Weights of the module.
        pool: What becomes of the states of a module that gives states; None: the last.
        seed: What first weights are a function of; None: of the generator as it stands.

    Raises:
        SettingsError: The name is of another form, or nothing can be made of what it names.
        InputError: The weights cannot be read, or do not fit.
    """
    found = _named(name)
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        made = _made(found, codes, name)
    encoder = adapt(made, pool, name)
    if checkpoint is not None:
        load_encoder(encoder, checkpoint)
    return cast("SequenceEncoder", cast("nn.Module", encoder).eval())


def adapt(given: Any, pool: Over | None = None, name: str = "encoder") -> SequenceEncoder:
    """Anything that can be an encoder, behind the door.

    Args:
        given: A module with `encode`, a module that takes padded events, or a callable with
            embedding_size.
        pool: What becomes of the states of a module that gives states; None: the last.
        name: What the person calls it, for errors.

    Raises:
        SettingsError: It is none of these, states no size, or gives no states to pool.
    """
    if isinstance(given, type):
        what, mend = "is a class, expected an encoder that it makes", "call it, and give the result"
        raise SettingsError(what, where=f"{OPTION} {name}", mend=mend)
    try:
        size = size_of(given, name)
    except SetvaeError as error:
        raise SettingsError(error.what, where=f"{OPTION} {name}", mend=error.mend) from error
    is_module, own_door = isinstance(given, nn.Module), callable(getattr(given, "encode", None))
    states = is_module and not (own_door or getattr(given, "is_reduce_sequence", False))
    if pool is not None and not states:
        raise SettingsError(NO_STATES, where=POOL, mend="leave it out")
    if isinstance(given, nn.Module):
        return cast("SequenceEncoder", given) if own_door else LifestreamEncoder(given, pool, name)
    if callable(given):
        return CallableEncoder(given, size, name)
    raise _wrong(name, f"is a {type(given).__name__}, expected a module or a callable")


def load_encoder(
    encoder: SequenceEncoder, path: Path, *, allow_partial: bool | None = None
) -> Match:
    """Give what was opened or adapted the weights of a file.

    Args:
        encoder: Of which only the part that others wrote has weights to load.
        path, allow_partial: As `load_weights` has them.

    Raises:
        InputError: As `load_weights` does.
        SettingsError: It is a callable.
    """
    return load_weights(_inner(encoder), path, allow_partial=allow_partial)


def load_weights(module: nn.Module, path: Path, *, allow_partial: bool | None = None) -> Match:
    """Give a module the weights of a file, under any known prefix.

    Args:
        module: The module.
        path: What `torch.save` wrote of a state_dict, or of a dictionary that holds one.
        allow_partial: Take weights that do not cover the module; None: whoever asks has no option
            to say so.

    Returns:
        What was loaded, and what not.

    Raises:
        InputError: It cannot be read, holds code, or does not cover the module.
    """
    found = match(module.state_dict(), _weights(path))
    if not found.whole and not (allow_partial and found.weights):
        mend = "name the checkpoint of this encoder"
        if found.weights and allow_partial is not None:
            mend += ", or start from what fits with --allow-partial"
        raise InputError(f"does not fit the encoder: {found.told()}", where=str(path), mend=mend)
    module.load_state_dict(found.weights, strict=False)
    return found


def _inner(encoder: SequenceEncoder) -> nn.Module:
    """The module whose state others kept."""
    if isinstance(encoder, LifestreamEncoder):
        return encoder.encoder
    if isinstance(encoder, CallableEncoder):
        mend = "give a module, or leave the checkpoint out"
        raise SettingsError("has no weights to load", where=f"{OPTION} {encoder.name}", mend=mend)
    return cast("nn.Module", encoder)


def _named(name: str) -> Any:
    place, colon, attribute = name.partition(":")
    if not (colon and place and attribute):
        what = f"{name!r:.80} is no module:attribute"
        raise SettingsError(what, where=OPTION, mend="write it as my_package.my_module:MyEncoder")
    if os.getcwd() not in sys.path:  # last, so that no file here takes the place of a library
        sys.path.append(os.getcwd())
    try:
        with torch.random.fork_rng():  # a process imports once, and may begin with any seed
            torch.manual_seed(0)
            found: Any = importlib.import_module(place)
    except (Exception, SystemExit) as error:  # code of others raises what it likes
        raise _wrong(name, f"importing {place} failed: {_said(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise _wrong(name, f"{place} has no attribute {attribute}")
        found = getattr(found, part)
    return found


def _made(found: Any, codes: int, name: str) -> Any:
    """A copy of the module, or what a factory makes."""
    if isinstance(found, nn.Module):
        return _copied(found, name)
    if not callable(found):
        return found
    if not isinstance(found, type) and hasattr(found, "embedding_size"):
        return found
    try:
        wanted = "codes" in inspect.signature(found).parameters
        made = found(codes=codes) if wanted else found()
    except (Exception, SystemExit) as error:  # as above
        raise _wrong(name, f"making it failed: {_said(error)}") from error
    is_new = isinstance(found, type) or not isinstance(made, nn.Module)
    return made if is_new else _copied(made, name)  # a function may give the same one each time


def _copied(module: nn.Module, name: str) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:  # as above
        raise _wrong(name, f"copying it failed: {_said(error)}") from error


def _weights(path: Path) -> Mapping[str, Tensor]:
    check_regular(path, "encoder checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = "refused: it contains code, or objects other than tensors and plain values"
        mend = "save encoder.state_dict() alone"
        raise InputError(what, where=str(path), mend=mend) from error
    except Exception as error:  # torch raises a dozen kinds on files that are not its own
        mend = "name a file that torch.save wrote"
        raise InputError("is no file of weights", where=str(path), mend=mend) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    tensors = content if isinstance(content, dict) else {}
    weights = {n: t for n, t in tensors.items() if isinstance(n, str) and isinstance(t, Tensor)}
    if not weights:
        mend = "save encoder.state_dict()"
        raise InputError("holds no weights", where=str(path), mend=mend)
    return weights


def _wrong(name: str, what: str) -> SettingsError:
    mend = "name a torch module, a factory of one, or a callable with embedding_size"
    return SettingsError(what, where=f"{OPTION} {name}", mend=mend)


def _said(error: BaseException) -> str:
    """The first line of what an error of others says."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first:.120}" if first else type(error).__name__
