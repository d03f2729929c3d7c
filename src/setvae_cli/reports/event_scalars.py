"""Takes scalars out of event records: of one length together, and those of a kind in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

_TIME, _STEP, _SIMPLE = 0x09, 0x10, 0x15  # tags of fields, as they stand in a message
_COLUMNS = (np.int64, np.int64, np.int64, np.float64, np.float64)


@dataclass(frozen=True)
class Scalars:
    """Values in the order in which they were written.

    Attributes:
        tags: Every tag that occurs.
        tag: Index into `tags`, `[values]`.
        steps: Step that each was written for.
        walls: When, seconds since 1970.
        values: The values; what training wrote as not finite stays so.
    """

    tags: tuple[str, ...]
    tag: NDArray[np.int64]
    steps: NDArray[np.int64]
    walls: NDArray[np.float64]
    values: NDArray[np.float64]


class Gathered:
    """Scalars of records that come in any order.

    Attributes:
        start_step: Where a resumption says that it begins; None where none did.
        began: Time of the first event, seconds since 1970; 0 before it was seen.
    """

    def __init__(self) -> None:
        self.start_step: int | None = None
        self.began = 0.0
        self._tags: dict[str, int] = {}
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def take(self, rows: NDArray[np.int64], records: NDArray[np.uint8]) -> int:
        """Read events of one length.

        Args:
            rows: Their places in the file, `[events]`.
            records: Their bytes, `[events, length]`.

        Returns:
            How many are no events.
        """
        done = self._take_alike(rows, records)
        rest = zip(rows[~done], records[~done], strict=True)
        return sum(not self._take_one(int(row), record.tobytes()) for row, record in rest)

    def scalars(self) -> Scalars:
        """All of them, in the order of the file."""
        parts = [*self._parts, tuple(np.empty(0, kind) for kind in _COLUMNS)]
        row, *columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(row, kind="stable")
        tag, steps, walls, values = (column[order] for column in columns)
        return Scalars(tuple(self._tags), tag, steps, walls, values)

    def _take_alike(self, rows: NDArray[np.int64], records: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Read what holds a time, a step and one scalar; which rows those were."""
        done = np.zeros(len(rows), bool)
        if records.shape[1] < 20:
            return done
        timed = (records[:, 0] == _TIME) & (records[:, 9] == _STEP) & (records[:, -5] == _SIMPLE)
        digits = (records[:, 10:15] < 0x80).argmax(axis=1) + 1
        for width in np.unique(digits[timed]):
            alike = np.flatnonzero(timed & (digits == width) & (records[:, 9 + width] < 0x80))
            heads = np.ascontiguousarray(records[alike, 10 + width : -4])
            kinds, kind = np.unique(heads.view(f"V{heads.shape[1]}")[:, 0], return_inverse=True)
            for number in range(len(kinds)):
                same = alike[kind == number]
                tag = _only_scalar(records[same[0]].tobytes())
                if tag is not None:
                    self._add_alike(tag, rows[same], records[same], int(width))
                    done[same] = True
        return done

    def _add_alike(
        self, tag: str, rows: NDArray[np.int64], records: NDArray[np.uint8], width: int
    ) -> None:
        walls = np.ascontiguousarray(records[:, 1:9]).view("<f8")[:, 0]
        values = np.ascontiguousarray(records[:, -4:]).view("<f4")[:, 0].astype(np.float64)
        sevens = (records[:, 10 : 10 + width] & 0x7F).astype(np.int64)
        steps = (sevens << (7 * np.arange(width))).sum(axis=1)
        self._parts.append((rows, np.full(len(rows), self._number(tag)), steps, walls, values))

    def _take_one(self, row: int, content: bytes) -> bool:
        """Read a record of any kind; False where it is none."""
        try:
            event = Event.FromString(content)
        except DecodeError:
            return False
        if row == 0:
            self.began = event.wall_time
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            self.start_step = event.step
        pairs = [(value.tag, _scalar(value)) for value in event.summary.value]
        kept = [(self._number(tag), value) for tag, value in pairs if value is not None]
        if kept:
            tags, values = zip(*kept, strict=True)
            same = np.full(len(kept), row), np.array(tags), np.full(len(kept), event.step)
            self._parts.append((*same, np.full(len(kept), event.wall_time), np.array(values)))
        return True

    def _number(self, tag: str) -> int:
        return self._tags.setdefault(tag, len(self._tags))


def _only_scalar(content: bytes) -> str | None:
    """The tag of a record that holds one scalar, laid out as writers lay it out; None for others.

    Records that agree with it in all but time, step and the scalar's bytes are then of its kind.
    """
    try:
        event = Event.FromString(content)
    except DecodeError:
        return None
    values = event.summary.value
    if len(values) != 1 or values[0].WhichOneof("value") != "simple_value":
        return None
    return str(values[0].tag) if event.SerializeToString() == content else None


def _scalar(value: Any) -> float | None:
    """The number in a summary's value, as old and as newer writers hold it; None for others."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor":
        return None
    from tensorboard.util.tensor_util import make_ndarray

    try:
        held = np.asarray(make_ndarray(value.tensor))
        return float(held.reshape(-1)[0]) if held.size == 1 else None
    except (TypeError, ValueError):
        return None
