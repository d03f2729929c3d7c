"""Random numbers without a generator: a pure function of (seed, epoch, batch, place, index, draw).

The same subject sees the same noise whatever the ranks, the workers, the batch's other subjects
on this device, or an interruption, because nothing is drawn from a stream. The hash is the
finalizer of splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators"), in 64-bit integers that wrap, so its bits are the same on every device.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from setvae_cli.data.uncompiled import uncompiled

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def counter_uniform(
    seed: int,
    epoch: int,
    batch: int,
    place: Int64[Tensor, "n"],
    index: Int64[Tensor, "n"],
    draw: int,
) -> Float[Tensor, "n"]:
    """Uniform numbers in [0, 1), float32, with equal bits on every device.

    Args:
        seed, epoch, batch: The step: batch is the number of the global batch in its epoch.
        place: Place of the subject in the global batch.
        index: Which number of this subject, such as the place of an element in it.
        draw: What it is for; different purposes use different numbers.
    """
    bits = _bits(_step(seed, epoch, batch, draw), place, index)
    return _shift_right(bits, 40).float() * 2.0**-24


def uniform_runs(
    seed: int,
    epoch: int,
    batch: int,
    place: NDArray[np.int64],
    sizes: NDArray[np.int64],
    draw: int,
) -> NDArray[np.float32]:
    """The numbers 0, 1, ... of each place, as many as its size: the bits of `counter_uniform`.

    For a loader: numpy hashes a batch in place, in a third of the time that torch takes for it.

    Args:
        seed, epoch, batch, place, draw: As for `counter_uniform`.
        sizes: How many numbers of each place, int64 [subjects].

    Returns:
        Uniform numbers in [0, 1), float32 [sum of sizes].
    """
    step = np.uint64(_step(seed, epoch, batch, draw))
    subject = _mix_array(place.astype(np.uint64) * _GOLDEN + step)
    starts = (sizes.cumsum() - sizes).astype(np.uint64)
    bits = np.arange(sizes.sum(), dtype=np.uint64)
    bits *= _GOLDEN
    bits += (subject - starts * _GOLDEN).repeat(sizes)
    bits = _mix_array(bits)
    bits >>= 40
    return bits.astype(np.float32) * np.float32(2.0**-24)


@uncompiled  # it would take a step's numbers for symbols, whose mixing overflows
def counter_normal(
    seed: int,
    epoch: int,
    batch: int,
    place: Int64[Tensor, "n"],
    index: Int64[Tensor, "n"],
    draw: int,
    dim: int,
) -> Float[Tensor, "n dim"]:
    """Standard normal numbers, float32 (Box and Muller 1958).

    Logarithm and cosine are taken in float64 and rounded, which hides the last bit in which
    devices differ from all but a few numbers in 10^8. Arguments as for `counter_uniform`.
    """
    pairs = (dim + 1) // 2
    pair = torch.arange(pairs, device=index.device)
    bits = _bits(_step(seed, epoch, batch, draw), place[:, None], index[:, None] * pairs + pair)
    first = (_shift_right(bits, 32).double() + 0.5) * 2.0**-32
    angle = (bits & 0xFFFFFFFF).double() * (2 * math.pi * 2.0**-32)
    radius = torch.sqrt(-2 * torch.log(first))
    normal = torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return normal[:, :dim].float()


def _step(seed: int, epoch: int, batch: int, draw: int) -> int:
    state = 0
    for number in (seed, epoch, batch, draw):
        state = _mix_int((state + _GOLDEN * (number + 1)) & _MASK)
    return state


def _bits(
    step: int, place: Int64[Tensor, "*#shape"], index: Int64[Tensor, "*#shape"]
) -> Int64[Tensor, "*shape"]:
    subject = _mix(place * _signed(_GOLDEN) + _signed(step))
    return _mix(index * _signed(_GOLDEN) + subject)


def _mix_int(x: int) -> int:
    x = ((x ^ (x >> 30)) * _FIRST) & _MASK
    x = ((x ^ (x >> 27)) * _SECOND) & _MASK
    return x ^ (x >> 31)


def _mix(x: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    x = (x ^ _shift_right(x, 30)) * _signed(_FIRST)
    x = (x ^ _shift_right(x, 27)) * _signed(_SECOND)
    return x ^ _shift_right(x, 31)


def _mix_array(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The same hash, in place: unsigned integers shift logically and wrap by themselves."""
    shifted = x >> 30
    x ^= shifted
    x *= _FIRST
    x ^= np.right_shift(x, 27, out=shifted)
    x *= _SECOND
    x ^= np.right_shift(x, 31, out=shifted)
    return x


def _shift_right(x: Int64[Tensor, "*shape"], bits: int) -> Int64[Tensor, "*shape"]:
    """A logical shift: torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
