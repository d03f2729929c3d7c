"""Takes scalars out of event records: of one length together, and those of a kind in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from setvae_cli.reports.event_layout import STEP_AT, Layout, layout_of

_TIME, _STEP, _SIMPLE = 0x09, 0x10, 0x15  # tags of fields, as they stand in a message
_MOST_LAYOUTS, _MOST_KINDS = 8, 2000
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
        rows, records = self._take_first_layouts(rows, records)
        done = self._take_single(rows, records)
        rest = zip(rows[~done], records[~done], strict=True)
        return sum(not self._take_one(int(row), record.tobytes()) for row, record in rest)

    def scalars(self) -> Scalars:
        """All of them, in the order of the file."""
        parts = [*self._parts, tuple(np.empty(0, kind) for kind in _COLUMNS)]
        row, *columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(row, kind="stable")
        tag, steps, walls, values = (column[order] for column in columns)
        return Scalars(tuple(self._tags), tag, steps, walls, values)

    def _take_single(
        self, rows: NDArray[np.int64], records: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Read what holds a time, a step and one scalar, tag by tag; which rows those were."""
        done = np.zeros(len(rows), bool)
        if records.shape[1] < 20:
            return done
        timed = (records[:, 0] == _TIME) & (records[:, 9] == _STEP) & (records[:, -5] == _SIMPLE)
        digits = (records[:, 10:15] < 0x80).argmax(axis=1) + 1
        for width in np.unique(digits[timed]):
            alike = np.flatnonzero(timed & (digits == width) & (records[:, 9 + width] < 0x80))
            heads = np.ascontiguousarray(records[alike, 10 + width : -4])
            kinds, kind = np.unique(heads.view(f"V{heads.shape[1]}")[:, 0], return_inverse=True)
            for number in range(len(kinds) if len(kinds) <= _MOST_KINDS else 0):
                same = alike[kind == number]
                layout = layout_of(records[same[0]].tobytes())
                if layout is not None and len(layout.tags) == 1:
                    self._add_alike(layout, rows[same], records[same])
                    done[same] = True
        return done

    def _take_first_layouts(
        self, rows: NDArray[np.int64], records: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Read what is laid out like the first of these, a few times; what remains then."""
        for _ in range(_MOST_LAYOUTS):
            layout = layout_of(records[0].tobytes()) if len(rows) else None
            if layout is None:
                break
            alike = layout.alike(records)
            self._add_alike(layout, rows[alike], records[alike])
            rows, records = rows[~alike], records[~alike]
        return rows, records

    def _add_alike(
        self, layout: Layout, rows: NDArray[np.int64], records: NDArray[np.uint8]
    ) -> None:
        walls = np.ascontiguousarray(records[:, 1:9]).view("<f8")[:, 0]
        sevens = (records[:, STEP_AT : STEP_AT + layout.width] & 0x7F).astype(np.int64)
        steps = (sevens << (7 * np.arange(layout.width))).sum(axis=1)
        for tag, place in zip(layout.tags, layout.places, strict=True):
            floats = np.ascontiguousarray(records[:, place : place + 4]).view("<f4")[:, 0]
            number = np.full(len(rows), self._number(tag))
            self._parts.append((rows, number, steps, walls, floats.astype(np.float64)))

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
