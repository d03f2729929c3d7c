"""Damage to the bytes of a file: cuts at random places, single flipped bits.

`FAULTS_TIMES=20 make faults` damages and mutates twenty times as often, as for a night.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

TIMES = int(os.environ.get("FAULTS_TIMES", "1"))
CUTS, FLIPS = 300 * TIMES, 400 * TIMES


def cuts(content: bytes, number: int = CUTS) -> Iterator[bytes]:
    """The content cut off at random places."""
    generator = random.Random(len(content))
    for _ in range(number):
        yield content[: generator.randrange(len(content))]


def flips(content: bytes, number: int = FLIPS) -> Iterator[bytes]:
    """The content with one random bit turned over."""
    generator = random.Random(len(content))
    for _ in range(number):
        flipped = bytearray(content)
        flipped[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        yield bytes(flipped)


KINDS: dict[str, Callable[[bytes], Iterator[bytes]]] = {"cuts": cuts, "flips": flips}


def put(path: Path, content: bytes) -> None:
    """Give a file other bytes; whoever has mapped the old ones keeps them."""
    beside = path.with_name(path.name + "~")
    beside.write_bytes(content)
    os.replace(beside, path)
