"""Where a run computes, and in which precision."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from setvae_cli.allocator import keep_memory
from setvae_cli.errors import SettingsError
from setvae_cli.settings.run import RunSettings

log = logging.getLogger(__name__)

NARROW = 128
MOST_A_CORE = 4  # threads; torch ends with a fault when it cannot start as many as asked for

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Machine:
    """A device and how numbers are kept on it.

    Attributes:
        device: `cpu` or `cuda`.
        precision: In Lightning's words.
        dtype: Of the weights.
        threads: Of maths on the CPU.
        processes: Of the run, each on a device of its own.
    """

    device: Literal["cpu", "cuda"]
    precision: Precision
    dtype: torch.dtype
    threads: int
    processes: int = 1

    @property
    def fused(self) -> bool:
        """Whether the fused optimizer may run: it does not go with a gradient scaler."""
        return self.precision != "16-mixed"

    @property
    def name(self) -> str:
        """The device in words, without a host."""
        return torch.cuda.get_device_name() if self.device == "cuda" else "no GPU"

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass outside the trainer."""
        if self.precision == "32-true":
            return nullcontext()
        kind = torch.bfloat16 if self.precision == "bf16-mixed" else torch.float16
        return torch.autocast(self.device, dtype=kind)

    def describe(self, workers: int) -> str:
        """One line: cores, device, precision, workers."""
        number = 64 if self.dtype == torch.float64 else self.precision.removesuffix("-true")
        cores = len(os.sched_getaffinity(0))
        parts = [f"{cores} cores", self.name, f"precision {number}", _plural(workers, "worker")]
        if self.device == "cpu":
            parts.insert(1, _plural(self.threads, "thread"))
        if self.processes > 1:
            parts.insert(1, f"{self.processes} processes (ddp)")
        return ", ".join(parts)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Within it, torch computes with the machine's threads, in memory that stays its own."""
        if self.device == "cpu":
            keep_memory(None)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def resolve(settings: RunSettings, dim: int) -> Machine:
    """The machine that settings ask for.

    Args:
        settings: Of the run.
        dim: Width of the model: a narrow one computes faster on one thread.

    Raises:
        SettingsError: More GPUs are asked for than there are, or threads that torch cannot start.
    """
    has_gpu = torch.cuda.is_available()
    if settings.device == "cuda" and not has_gpu:
        raise SettingsError("there is no GPU here", where="--device cuda", mend="leave it at auto")
    device: Literal["cpu", "cuda"] = "cuda" if has_gpu and settings.device != "cpu" else "cpu"
    usable = len(os.sched_getaffinity(0))
    if settings.threads is not None and settings.threads > MOST_A_CORE * usable:
        raise SettingsError(
            f"{settings.threads} threads are more than four a usable core ({MOST_A_CORE * usable})",
            where="--threads",
            mend="use fewer, or leave it out",
        )
    _check_devices(settings.devices, device, usable)
    threads = settings.threads or (1 if dim < NARROW else max(1, usable // settings.devices))
    processes = settings.devices * settings.num_nodes
    if settings.precision == "64":
        return Machine(device, "32-true", torch.float64, threads, processes)
    return Machine(device, _precision(settings, device), torch.float32, threads, processes)


def count_gpus() -> int:
    """GPUs of this machine."""
    return torch.cuda.device_count()


def _check_devices(devices: int, device: str, cores: int) -> None:
    if device == "cuda" and devices > count_gpus():
        raise SettingsError(
            f"{devices} devices are more than the GPUs of this machine ({count_gpus()})",
            where="--devices",
            mend="use fewer, or --device cpu",
        )
    if device == "cpu" and devices > cores:
        log.warning("%d processes share %d cores: they wait for one another", devices, cores)


def _precision(settings: RunSettings, device: str) -> Precision:
    asked = settings.precision
    if asked == "auto":
        able = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if able else "32-true"
    if asked == "32":
        return "32-true"
    if device == "cpu":
        if asked == "16-mixed":
            log.warning("precision 16-mixed needs a GPU: computing in bf16-mixed")
        log.warning("precision bf16-mixed is slower than 32 on most CPUs")
        return "bf16-mixed"
    return "16-mixed" if asked == "16-mixed" else "bf16-mixed"
