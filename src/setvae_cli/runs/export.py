"""Weights and settings of a trained model in one safetensors file, for sharing.

    uint64 length | JSON {"__metadata__": {"setvae": text}, weight: {...}, ...} | weights
                                         text = {"sha256": ..., "format_version": 1, "header": ...}

It holds what validation saw and nothing that only training needs: no optimizer state, no place in
the run, no path, no id. safetensors itself checks sizes but no byte of a weight, so the text begins
with a digest of the whole file, taken with zeros in the digest's own place. The metadata is one
text because the order of a map is not kept: equal models give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from setvae_cli.errors import InputError
from setvae_cli.files import atomic_writer, check_free, check_regular
from setvae_cli.runs.checkpoint import CheckpointContent, Header
from setvae_cli.runs.model import LoadedModel, rebuild

FORMAT_VERSION = 1
METADATA = "setvae"
OPENING = rb'{"__metadata__":{"setvae":"{\"sha256\":\"'
_LENGTH, _DIGEST = 8, 64  # bytes before the JSON; hexadecimal digits of a SHA-256
_ZEROS = "0" * _DIGEST


@dataclass(frozen=True)
class Exported:
    """An opened file.

    Attributes:
        path: Where it was read.
        header: What it says about itself.
        weights: By name, on the CPU.
    """

    path: Path
    header: Header
    weights: dict[str, Tensor]


def export(content: CheckpointContent, path: Path) -> LoadedModel:
    """Write the weights and the settings of a checkpoint to a file of their own.

    Args:
        content: The checkpoint.
        path: The file; nothing may stand there yet.

    Returns:
        The model, rebuilt from the bytes that were written.

    Raises:
        InputError: Something stands there, or the checkpoint makes no model.
        RunError: The disk is full, or refuses the write.
    """
    check_free(path, "file")
    data = _encode(content.header, content.weights())
    exported = _decode(data, path)
    loaded = rebuild(exported.header, exported.weights, content.path)
    with atomic_writer(path) as file:
        file.write(data)
    return loaded


def read_exported(path: Path) -> Exported:
    """Open an exported file.

    Raises:
        InputError: It is missing, damaged, not ours, or of a later format.
    """
    return _decode(check_regular(path, "exported model").read_bytes(), path)


def load_exported(path: Path) -> LoadedModel:
    """Open an exported file and rebuild its model, on the CPU.

    Raises:
        InputError: It cannot be opened, or its weights do not fit the model it describes.
    """
    exported = read_exported(path)
    return rebuild(exported.header, exported.weights, path)


def begins_as_exported(path: Path) -> bool:
    """Whether a file begins as `export` writes it, whatever follows."""
    with open(path, "rb") as file:
        return file.read(_LENGTH + len(OPENING))[_LENGTH:] == OPENING


def _encode(header: Header, weights: dict[str, Tensor]) -> bytes:
    nowhere = header.model_copy(update={"next_epoch": None, "next_batch": None})
    about = {
        "sha256": _ZEROS,
        "format_version": FORMAT_VERSION,
        "header": nowhere.model_dump(mode="json"),
    }
    text = json.dumps(about, separators=(",", ":"), allow_nan=False)
    data = save({name: tensor.contiguous() for name, tensor in weights.items()}, {METADATA: text})
    digest = hashlib.sha256(data).hexdigest().encode()
    return data.replace(OPENING + _ZEROS.encode(), OPENING + digest, 1)


def _decode(data: bytes, path: Path) -> Exported:
    place = _LENGTH + len(OPENING)
    if data[_LENGTH:place] != OPENING:
        what = "is no exported model of setvae, or its beginning is damaged"
        raise InputError(what, where=str(path), mend="export it again")
    digest = data[place : place + _DIGEST]
    if _digest(data, place).encode() != digest:
        what = "is cut short or damaged: its checksum does not match"
        raise InputError(what, where=str(path), mend="export it again")
    return Exported(path, _header(data, path), _weights(data, path))


def _digest(data: bytes, place: int) -> str:
    state = hashlib.sha256(memoryview(data)[:place])
    state.update(_ZEROS.encode())
    state.update(memoryview(data)[place + _DIGEST :])
    return state.hexdigest()


def _header(data: bytes, path: Path) -> Header:
    try:
        length = int.from_bytes(data[:_LENGTH], "little")
        head = json.loads(data[_LENGTH : _LENGTH + length])
        about: dict[str, Any] = json.loads(head["__metadata__"][METADATA])
        version = about["format_version"]
        if version == FORMAT_VERSION:
            return Header.model_validate(about["header"])
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        raise InputError("its metadata is not that of setvae", where=str(path)) from error
    what = f"has format {version!r:.20}, this setvae reads format {FORMAT_VERSION}"
    raise InputError(what, where=str(path), mend="install another setvae")


def _weights(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError("is no file that safetensors can open", where=str(path)) from error
    return weights
