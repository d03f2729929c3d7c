"""Events of subjects brought into order, and static attributes set among them as events."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setvae_cli.sources.columns import is_text

_NARROW = 1 << 16  # numpy sorts 16-bit keys by radix, ten times as fast as wider ones


def in_time_order(events: pa.Table) -> tuple[pa.Table, bool]:
    """Subjects together and their events by time, and whether some had to be moved in time.

    Args:
        events: At least `subject` (int32, from 0) and `time`; equal times keep their order.
    """
    subject, time = events["subject"].to_numpy(), events["time"].to_numpy()
    order = None
    if np.any(subject[1:] < subject[:-1]):
        order = _stable_order(subject)
        subject, time = subject[order], time[order]
    unsorted = bool(np.any((time[1:] < time[:-1]) & (subject[1:] == subject[:-1])))
    if unsorted:
        by_time = _stable_order(time)
        again = by_time[_stable_order(subject[by_time])]
        order = again if order is None else order[again]
    return (events if order is None else events.take(pa.array(order))), unsorted


def since_first(events: pa.Table) -> pa.Table:
    """Dates in microseconds as minutes from the subject's first event, of events in time order."""
    subject, time = events["subject"].to_numpy(), events["time"].to_numpy()
    first = _first_of_each(subject)
    rows = np.diff(first, append=len(time))
    minutes = (time - np.repeat(time[first], rows)) / 60e6
    return events.set_column(1, "time", pa.array(minutes))


def with_static(events: pa.Table, static: Mapping[str, pa.Array]) -> pa.Table:
    """Add attributes as events before a subject's first event that is finite and not before 0.

    Args:
        events: In time order.
        static: Values of each attribute, one a subject. Numbers are values of the attribute's
            code, texts are presence of `name=value`.
    """
    if not static or not events.num_rows:
        return events
    subject, time = events["subject"].to_numpy(), events["time"].to_numpy()
    usable = np.flatnonzero(np.isfinite(time) & (time >= 0))
    first = usable[_first_of_each(subject[usable])]
    added, places = [], []
    for name, values in static.items():
        here = values.take(pa.array(subject[first]))
        known = here.is_valid()
        rows = events.take(pa.array(first))
        rows = rows.set_column(2, "code", _codes(name, here))
        rows = rows.set_column(3, "value", _values(here))
        added.append(rows.filter(known))
        places.append(first[known.to_numpy(zero_copy_only=False)])
    merged = pa.concat_tables([events, *added]).unify_dictionaries()
    place = np.concatenate(places)
    order = np.insert(np.arange(len(time)), place, np.arange(len(time), merged.num_rows))
    return merged.take(pa.array(order)).combine_chunks()


def _codes(name: str, values: pa.Array) -> pa.DictionaryArray:
    if is_text(values.type):
        return pc.binary_join_element_wise(f"{name}=", values, "").dictionary_encode()
    return pa.array([name] * len(values), pa.string()).dictionary_encode()


def _values(values: pa.Array) -> pa.Array:
    return pa.nulls(len(values), pa.float64()) if is_text(values.type) else values


def _first_of_each(subject: np.ndarray) -> np.ndarray:
    """First row of each run of one subject."""
    return np.flatnonzero(np.diff(subject, prepend=-1))


def _stable_order(keys: np.ndarray) -> np.ndarray:
    """The stable sorting order; fast for numbers that are whole and small, as minutes often are."""
    if len(keys) and keys.min() >= 0 and keys.max() < _NARROW:
        small = keys.astype(np.uint16)
        if np.array_equal(small, keys):
            keys = small
    return np.argsort(keys, kind="stable")
