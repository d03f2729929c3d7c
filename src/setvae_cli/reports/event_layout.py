"""Where the numbers of an event stand in its bytes, so that events laid out alike are read at once.

09 wall time, 8 bytes | 10 step, varint | 2a length ( 0a length ( 0a length tag | 15 float )) ...
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event

STEP_AT = 10  # the first byte of the step
_FLOAT = 4  # bytes
_OF_EVENT, _OF_VALUE = ["wall_time", "step", "summary"], ["tag", "simple_value"]


@dataclass(frozen=True)
class Layout:
    """Of an event that holds a time, a step and scalars, and nothing else.

    Attributes:
        content: The event it was read off.
        tags: Of its scalars, in order.
        places: First byte of each scalar.
        width: Bytes of the step.
    """

    content: NDArray[np.uint8]
    tags: tuple[str, ...]
    places: tuple[int, ...]
    width: int

    def alike(self, records: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which events differ from this one in nothing but time, step and values.

        Args:
            records: Of the same length, `[events, length]`.
        """
        fixed = np.ones(len(self.content), bool)
        fixed[1:9] = fixed[STEP_AT : STEP_AT + self.width] = False
        for place in self.places:
            fixed[place : place + _FLOAT] = False
        places = np.flatnonzero(fixed)
        same = (records[:, places] == self.content[places]).all(axis=1)
        more = records[:, STEP_AT : STEP_AT + self.width] >= 0x80
        same &= (more == (np.arange(self.width) < self.width - 1)).all(axis=1)
        return np.asarray(same, np.bool_)


def layout_of(content: bytes) -> Layout | None:
    """The layout of an event; None where it holds anything else, or was written otherwise."""
    try:
        event = Event.FromString(content)
    except DecodeError:
        return None
    plain = _names(event) == _OF_EVENT and all(_names(v) == _OF_VALUE for v in event.summary.value)
    if not plain or event.SerializeToString() != content:
        return None
    places, end = [], len(content)
    for value in reversed(event.summary.value):
        places.append(end - _FLOAT)
        size = value.ByteSize()
        end -= size + _digits(size) + 1
    tags = tuple(str(value.tag) for value in event.summary.value)
    held = np.frombuffer(content, np.uint8)
    return Layout(held, tags, tuple(reversed(places)), _digits(event.step))


def _names(message: object) -> list[str]:
    """Fields that are set, in the order in which they are written."""
    return [field.name for field, _ in message.ListFields()]  # type: ignore[attr-defined]


def _digits(number: int) -> int:
    """Bytes of a varint."""
    return max(1, -(-number.bit_length() // 7))
