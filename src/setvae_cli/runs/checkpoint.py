"""Checkpoints: what the trainer needs to go on, under a header that needs nobody else.

    {"setvae": Header as plain values, "state_dict": {...}, "optimizer_states": [...], "loops": ...}

A checkpoint holds tensors and plain values only, so that it opens with `weights_only=True`, which
runs no code. It holds no path, no id and no row number of a subject. Each byte range in the file
carries a CRC that torch does not look at; `read` does.
"""

from __future__ import annotations

import math
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from setvae_cli.errors import InputError
from setvae_cli.files import atomic_writer, check_regular
from setvae_cli.runs.claims import check_claims

FORMAT_VERSION = 1
HEADER, STATE = "setvae", "setvae_state"
MODEL, AVERAGED = "model.", "averaged."
_OURS = "name a checkpoint that setvae wrote"
# What torch raises on a pickle that breaks off or builds nonsense, found by mutating good ones.
_UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    struct.error,
)


class Header(BaseModel):
    """What a checkpoint says about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format_version: int = Field(FORMAT_VERSION, description="Version of this layout.")
    setvae_version: str = Field(description="Version that wrote it.")
    settings: dict[str, Any] = Field(description="Flat settings of the run, without paths.")
    vocabulary: dict[str, Any] = Field(description="Codes, kinds and statistics of the model.")
    data_digest: str = Field(description="Digest of the store it was trained on.")
    tasks: tuple[str, ...] = Field(description="Labels that are predicted.")
    classes: tuple[int, ...] = Field(description="Classes of each label.")
    set_size_p99: float = Field(description="99th percentile of set size, elements.")
    time_scale: float = Field(description="95th percentile of the last position.")
    sets_per_subject: float = Field(description="Mean sets a subject: scales the loss.")
    planned_steps: int = Field(description="Optimizer steps that schedules span.")
    measured: dict[str, float] = Field(description="Scalars of the last validation.")
    first_planned_steps: int | None = Field(
        None, description="Steps planned when the run began: what shares of warm-ups refer to."
    )
    next_epoch: int | None = Field(None, description="Epoch of the next micro-batch, from 0.")
    next_batch: int | None = Field(None, description="Number of the next micro-batch in it.")
    validated_step: int = Field(-1, description="Optimizer steps done at the last validation.")
    command: str = Field("train", description="Command whose settings these are.")
    class_weights: tuple[tuple[float, ...], ...] = Field(
        (), description="Weight of each class of each label in the loss; empty: 1."
    )
    class_names: dict[str, tuple[str, ...]] = Field(
        {}, description="Names of classes 0, 1, ... of labels that were given as texts."
    )
    foreign: str | None = Field(
        None, description="The encoder of another package that it needs; its code is not here."
    )

    @property
    def warm_up_steps(self) -> int:
        """Steps that shares of warm-ups and cycles refer to: a later end does not move them."""
        return self.first_planned_steps or self.planned_steps


@dataclass(frozen=True)
class CheckpointContent:
    """An opened checkpoint.

    Attributes:
        path: Where it was read.
        header: What it says about itself.
        payload: All of it, as the trainer saved it.
    """

    path: Path
    header: Header
    payload: Mapping[str, Any]

    @property
    def epoch(self) -> int:
        """Epochs begun when it was saved, from 0."""
        return int(self.payload["epoch"])

    @property
    def step(self) -> int:
        """Optimizer steps done when it was saved."""
        return int(self.payload["global_step"])

    @property
    def progress(self) -> tuple[int, bool]:
        """Sorts by how far it is: the same step before and after its validation."""
        return self.step, self.header.validated_step == self.step

    def weights(self) -> dict[str, Tensor]:
        """The weights that are evaluated: averaged ones where the run kept them."""
        state = self.payload["state_dict"]
        prefix = AVERAGED if any(name.startswith(AVERAGED) for name in state) else MODEL
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in state.items()
            if name.startswith(prefix)
        }


def save(path: Path, payload: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically: the old file or the new one, never a part.

    It takes no memory beside the payload's own.

    Raises:
        TypeError: It holds something that is neither a tensor nor a plain value.
        RunError: The disk is full, or refuses the write.
    """
    plain = _plain(payload, "", set())
    with atomic_writer(path) as file:
        sink = _Sink(file)
        torch.save(plain, cast("IO[bytes]", sink))  # it only writes and flushes
        if sink.error is not None:
            raise sink.error


class _Sink:
    """A file whose first failure is kept for later: torch replaces it by one of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: BaseException | None = None

    def write(self, content: bytes) -> int:
        """Write, unless a write failed before; always the length of the content."""
        if self.error is None:
            try:
                self._file.write(content)
            except BaseException as error:  # noqa: BLE001 (a signal's too)
                self.error = error
        return len(content)

    def flush(self) -> None:
        """Nothing: who opened the file ends it."""


def read(path: Path, *, mapped: bool = False) -> CheckpointContent:
    """Open a checkpoint of ours without running anything in it.

    Args:
        path: The file.
        mapped: Leave its tensors in the file until they are used, so that it takes no memory;
            for a file that nobody changes in place.

    Raises:
        InputError: It is missing, damaged, not ours, holds code, or is of a later format.
    """
    payload = open_plain(path, mapped=mapped)
    check_claims(payload, path)
    if not isinstance(payload, dict) or not isinstance(payload.get(HEADER), dict):
        raise InputError(
            "is no checkpoint of setvae: it has no setvae header", where=str(path), mend=_OURS
        )
    raw = payload[HEADER]
    version = raw.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        what = f"has format {version}, this setvae reads up to {FORMAT_VERSION}"
        raise InputError(what, where=str(path), mend="install a newer setvae")
    try:
        header = Header.model_validate(raw)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise InputError(f"its header has a wrong {field}", where=str(path), mend=_OURS) from error
    return CheckpointContent(path, header, payload)


def open_plain(path: Path, *, mapped: bool) -> Any:
    """What a file of torch holds, plain values and tensors, without running anything in it.

    It may claim to hold more than it does: see claims.py.

    Args:
        path: The file.
        mapped: As for `read`.

    Raises:
        InputError: It is missing, damaged, not of torch, or holds code.
    """
    check_regular(path, "checkpoint")
    damage = _damage(path)
    if damage:
        raise InputError(damage, where=str(path), mend=_mend(path))
    return _load(path, mapped=mapped)


def is_intact(path: Path) -> bool:
    """Whether every byte range of the file matches its checksum."""
    return path.is_file() and _damage(path) is None


def _damage(path: Path) -> str | None:
    with open(path, "rb") as file:
        begins_as_ours = file.read(2) == b"PK"
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                return "is no checkpoint: it is a compressed archive"
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError):
        return "is cut short or damaged" if begins_as_ours else "is no checkpoint"
    return "is damaged: a checksum does not match" if bad else None


def _load(path: Path, *, mapped: bool) -> Any:
    try:
        with warnings.catch_warnings():  # torch remarks on pickles of others in several lines
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        what = "refused: it contains code, or objects other than tensors and plain values"
        raise InputError(what, where=str(path), mend=_OURS) from error
    except _UNREADABLE as error:
        raise InputError(
            "is no checkpoint that torch can open", where=str(path), mend=_OURS
        ) from error


def _mend(path: Path) -> str:
    siblings = [other for other in path.parent.glob("*.ckpt") if other != path]
    for other in sorted(siblings, key=lambda file: file.stat().st_mtime_ns, reverse=True):
        if is_intact(other):
            return f"the newest intact one beside it is {other.name}"
    return _OURS


def _plain(value: Any, place: str, held: set[int]) -> Any:
    """The same value in plain containers; tensors lose their graph and what else they share.

    Args:
        value: What is saved.
        place: Where it stands, for errors.
        held: Addresses of the memory that a tensor brought already.
    """
    if isinstance(value, Tensor):
        return _alone(value.detach(), held)
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {
            _key(key, place): _plain(item, f"{place}/{key}", held) for key, item in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(_plain(item, f"{place}/{i}", held) for i, item in enumerate(value))
    raise TypeError(f"{place}: a checkpoint cannot hold a {type(value).__name__}")


def _alone(tensor: Tensor, held: set[int]) -> Tensor:
    """The tensor itself where its memory is all its own, else a copy."""
    memory = tensor.untyped_storage()
    address = memory.data_ptr()
    if address in held or memory.nbytes() != tensor.numel() * tensor.element_size():
        return tensor.clone()
    held.add(address)
    return tensor


def _key(key: Any, place: str) -> str | int:
    if type(key) in (str, int):
        return key  # type: ignore[no-any-return]
    raise TypeError(f"{place}: a checkpoint cannot hold a key of type {type(key).__name__}")


def check_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are not finite.

    Raises:
        InputError: A weight is NaN or infinite.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not _is_finite(tensor):
            raise InputError(
                f"weight {name} is not finite", where=str(path), mend="take an earlier checkpoint"
            )


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; their sum tells in a 30th of the time unless it overflows."""
    return math.isfinite(float(tensor.sum())) or bool(tensor.isfinite().all())
