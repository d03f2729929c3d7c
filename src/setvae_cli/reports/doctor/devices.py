"""What computes here: cores, GPUs, precisions, memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from setvae_cli import numbers
from setvae_cli.reports.doctor.finding import Finding, Section

LITTLE_MEMORY = 2 * 10**9  # bytes; importing torch and Lightning alone takes 0.5 GB
GPU_FILES = ("/dev/nvidia0", "/dev/dxg")
CGROUP = Path("/sys/fs/cgroup")


def devices() -> Section:
    """Cores, GPUs, precisions and memory."""
    return Section("Devices", (cores(), *gpus(), precisions(), memory()))


def cores() -> Finding:
    """Cores that this process may use."""
    usable, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    return Finding("cores", f"{usable} usable of {all_cores}")


def gpus() -> list[Finding]:
    """Each GPU that torch can use; where it can use none, whether one is there."""
    if torch.cuda.is_available():
        return [_gpu(number) for number in range(torch.cuda.device_count())]
    there = any(os.path.exists(file) for file in GPU_FILES)
    if not there:
        return [Finding("GPU", "none")]
    if torch.version.cuda is None:
        mend = "install a torch that is built with CUDA"
        return [Finding("GPU", "there, but this torch is built for CPUs only", "warn", mend)]
    mend = "update the driver, or check CUDA_VISIBLE_DEVICES"
    return [Finding("GPU", "there, but torch cannot use it", "warn", mend)]


def precisions() -> Finding:
    """Which precisions work, and which one `auto` takes."""
    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        words = "bf16-mixed, 16-mixed, 32, 64" if able else "16-mixed, 32, 64"
        return Finding("precision", f"{words} (auto: {'bf16-mixed' if able else '32'})")
    units = _matrix_units()
    told = f"with {units}" if units else "works, slower than 32"
    return Finding("precision", f"32, 64; bf16-mixed {told} (auto: 32)")


def memory() -> Finding:
    """What is left of this machine's memory, or of this container's."""
    system = psutil.virtual_memory()
    left, total = system.available, system.total
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if limit is not None and used is not None and limit < total:
        left, total = min(left, max(limit - used, 0)), limit
    value = f"{numbers.size(left)} free of {numbers.size(total)}"
    if left < LITTLE_MEMORY:
        return Finding("memory", value, "warn", "end other programs, or use a smaller --batch-size")
    return Finding("memory", value)


def _gpu(number: int) -> Finding:
    about = torch.cuda.get_device_properties(number)
    kind = f"{about.name}, compute {about.major}.{about.minor}"
    try:
        free, total = torch.cuda.mem_get_info(number)
    except RuntimeError:
        mend = "end the program that holds it, or choose another in CUDA_VISIBLE_DEVICES"
        return Finding(f"GPU {number}", f"{kind}, cannot be used", "wrong", mend)
    left = f"{numbers.size(free)} free of {numbers.size(total)}"
    return Finding(f"GPU {number}", f"{kind}, {left}")


def _matrix_units() -> str | None:
    """The instructions that multiply bfloat16, as torch finds them; None without any."""
    for name in ("amx_tile", "avx512_bf16"):
        supported = getattr(torch.cpu, f"_is_{name}_supported", None)
        if supported is not None and supported():
            return name.removesuffix("_tile")
    return None


def _cgroup(name: str) -> int | None:
    """A number of this container's group; None where there is no limit."""
    with suppress(OSError, ValueError):
        return int(CGROUP.joinpath(name).read_text())
    return None
