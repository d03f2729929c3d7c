"""Checkpoints as they come back from mail, disks and strangers: factories that spoil a good run.

Each factory gets the folder of a whole run and a good checkpoint in it, and returns what stands
behind the command.
"""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch

from setvae_cli.runs.checkpoint import read, save

Spoil = Callable[[Path, Path], list[str]]
OWNED = "owned"  # the file that a payload would write, if any of it ran


class Colour(Enum):
    RED = 1


class Command:
    """Runs a command of the shell when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"echo owned > {OWNED}",)


class Evaluated:
    """Evaluates an expression when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open('{OWNED}', 'w').close()",)


def replaced(content: bytes) -> Spoil:
    """Other bytes in place of the checkpoint."""

    def spoil(_: Path, good: Path) -> list[str]:
        good.write_bytes(content)
        return [str(good)]

    return spoil


def cut(share: float) -> Spoil:
    """The first part of the checkpoint."""

    def spoil(_: Path, good: Path) -> list[str]:
        content = good.read_bytes()
        good.write_bytes(content[: int(share * len(content))])
        return [str(good)]

    return spoil


def flipped(share: float) -> Spoil:
    """One bit turned over; between two tensors nothing is kept, so it is in the next one."""

    def spoil(_: Path, good: Path) -> list[str]:
        content = bytearray(good.read_bytes())
        at = int(share * len(content))
        while content[at] in b"\0Z":  # what tensors are aligned with
            at += 1
        content[at] ^= 16
        good.write_bytes(content)
        return [str(good)]

    return spoil


def changed(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """A checkpoint that was written well, of a payload that was changed."""

    def spoil(_: Path, good: Path) -> list[str]:
        payload = dict(read(good).payload)
        payload["setvae"] = dict(payload["setvae"])
        payload["state_dict"] = dict(payload["state_dict"])
        change(payload)
        save(good, payload)
        return [str(good)]

    return spoil


def header(**fields: Any) -> Spoil:
    """The same with other fields of the header."""
    return changed(lambda payload: payload["setvae"].update(fields))


def settings(**fields: Any) -> Spoil:
    """The same with other settings in the header."""

    def change(payload: dict[str, Any]) -> None:
        payload["setvae"]["settings"] = {**payload["setvae"]["settings"], **fields}

    return changed(change)


def renamed_code(payload: dict[str, Any]) -> None:
    vocabulary = dict(payload["setvae"]["vocabulary"])
    vocabulary["codes"] = [*vocabulary["codes"][:-1], "something else"]
    payload["setvae"]["vocabulary"] = vocabulary


def fewer_codes(payload: dict[str, Any]) -> None:
    vocabulary = {
        name: value and value[:-1] for name, value in payload["setvae"]["vocabulary"].items()
    }
    payload["setvae"]["vocabulary"] = vocabulary


def not_a_number(payload: dict[str, Any]) -> None:
    for name, tensor in payload["state_dict"].items():
        if tensor.is_floating_point():
            spoiled = tensor.clone()
            spoiled.view(-1)[0] = float("nan")
            payload["state_dict"][name] = spoiled


def without_optimizer(payload: dict[str, Any]) -> None:
    payload.pop("optimizer_states", None)


def holding(thing: Any) -> Spoil:
    """A checkpoint of torch with one more thing inside."""

    def spoil(_: Path, good: Path) -> list[str]:
        torch.save({**read(good).payload, "more": thing}, good)
        return [str(good)]

    return spoil


def archive(pickled: bytes, *, compressed: bool = False, entries: int = 0) -> Spoil:
    """An archive as torch writes it, around any pickle."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED

    def spoil(_: Path, good: Path) -> list[str]:
        with zipfile.ZipFile(good, "w", kind) as file:
            file.writestr("archive/data.pkl", pickled)
            file.writestr("archive/byteorder", b"little")
            file.writestr("archive/data/0", bytes(4))
            for number in range(entries):
                file.writestr(f"archive/data/{number + 1}", b"")
            file.writestr("archive/version", b"3\n")
        return [str(good)]

    return spoil


def legacy_archive(_: Path, good: Path) -> list[str]:
    """The tar format of the first versions of torch, with a payload."""
    with tarfile.open(good, "w") as tar:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Command())
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return [str(good)]


def legacy_stream(_: Path, good: Path) -> list[str]:
    torch.save({"more": Command()}, good, _use_new_zipfile_serialization=False)
    return [str(good)]


def script(_: Path, good: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather not make them any more
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(good))
    return [str(good)]


def lying_size(_: Path, good: Path) -> list[str]:
    """A small archive whose directory says that one entry takes 4 GB."""
    content = bytearray(good.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 20 : at + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
    good.write_bytes(content)
    return [str(good)]


def with_endless_weight(_: Path, good: Path) -> list[str]:
    """A weight of 10^13 numbers that are one number in the file."""
    payload = dict(read(good).payload)
    payload["state_dict"] = {
        name: torch.zeros(1).as_strided((10**13,), (0,)) for name in payload["state_dict"]
    }
    torch.save(payload, good)
    return [str(good)]


def with_lists_of_lists(_: Path, good: Path) -> list[str]:
    """Twenty floors of a list that holds ten times the floor below."""
    tower: list[Any] = [0]
    for _floor in range(20):
        tower = [tower] * 10
    torch.save({**read(good).payload, "more": tower}, good)
    return [str(good)]


def beyond_its_storage() -> bytes:
    """A pickle of a tensor of 10^12 numbers over a storage of four bytes."""
    buffer = io.BytesIO()
    torch.save(torch.zeros(1), buffer)
    with zipfile.ZipFile(buffer) as file:
        content = file.read(next(n for n in file.namelist() if n.endswith("data.pkl")))
    one = b"K\x01\x85"  # the shape (1,), and the stride
    large = b"\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85"
    assert one in content
    return content.replace(one, large, 1)


FOREIGN: dict[str, Any] = {
    "command": Command(),
    "expression": Evaluated(),
    "number of NumPy": np.float64(1),
    "array": np.zeros(3),
    "path": pathlib.PurePosixPath("/home/somebody"),
    "choice": Colour.RED,
    "module": torch.nn.Linear(1, 1),
}
