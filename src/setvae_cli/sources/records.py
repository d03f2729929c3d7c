"""The one schema that every source speaks: parts of whole subjects, read one at a time.

    source.parts(scratch) -> Part, Part, ...   picklable, boundaries fixed by the input alone
    part.read()           -> Records           may run in another process

A part holds whole subjects; a subject is never in two parts. The order of parts and of subjects
inside them depends on the input alone, so that any number of workers prepares the same store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa

Kind = Literal["numeric", "presence", "binary", "category"]


@dataclass(frozen=True)
class Records:
    """The events of some whole subjects.

    Attributes:
        subjects: One row a subject: `subject_id` (string), and where the source knows them
            `group_id` (string), `split` (train, validation or test; null: not given),
            `prediction_time` (minutes, null: none), `attribute.<name>` (number or string),
            `label.<task>` (int32, null: missing; then `Source.labels` gives none).
            Subjects without events stay in this table; the store counts and drops them.
        events: `subject` (int32, row of `subjects`), `time` (float64, minutes), `code`
            (dictionary of string), `value` (float64, null: none), and where sets are given
            `set` (int64). In the source's order; a numeric attribute also stands here as an event
            of its own code at the subject's first time from 0 on, so that models see it.
        drops: Rows that could not be used, counted by reason.
        warnings: Sentences for the person, without ids or values.
        truth: What is known behind the events, one row a subject; None for data of the world.
    """

    subjects: pa.Table
    events: pa.Table
    drops: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    truth: pa.Table | None = None


class Part(Protocol):
    """A piece of a source that can be read on its own, also in another process."""

    def read(self) -> Records:
        """Read and clean this part.

        Raises:
            InputError: A file of this part cannot be used at all.
        """
        ...


@dataclass(frozen=True)
class Labels:
    """Outcomes of subjects, however the source spells them.

    Attributes:
        table: `subject_id` (string), optional `prediction_time` (minutes, null: none), and one
            int32 column a task, null where missing.
        where: The file, as the person wrote it.
        class_names: Names of classes 0, 1, ... of tasks that were given as texts.
    """

    table: pa.Table
    where: str
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Source(Protocol):
    """Raw data that knows its own layout."""

    name: str

    def parts(self, scratch: Path) -> Iterator[Part]:
        """The parts, in their fixed order.

        Args:
            scratch: An empty private folder for what a source must put aside until its parts are
                read; the caller removes it.
        """
        ...

    def labels(self) -> Labels | None:
        """Outcomes, checked; None where the person gave none, or where they come with subjects."""
        ...

    def kinds(self) -> Mapping[str, Kind]:
        """Codes whose kind the layout fixes; the rest follows from training values."""
        ...

    def statistics(self) -> Mapping[str, tuple[float, float]] | None:
        """Mean and standard deviation a code, where the layout brings its own (stats.csv)."""
        ...

    def embeddings(self) -> tuple[tuple[str, ...], np.ndarray] | None:
        """Code names and their embeddings [codes, width] float32, where the layout brings them."""
        ...

    def files(self) -> tuple[str, ...]:
        """Every file that was or will be read: what the cache key and the digest cover."""
        ...

    def total(self) -> tuple[int, str] | None:
        """Amount of work for progress: how many and of what (bytes, files, rows)."""
        ...


def code_column(indices: np.ndarray, names: Sequence[str]) -> pa.DictionaryArray:
    """A dictionary column of the names that are used.

    Args:
        indices: Place of each row in `names`, [rows].
        names: Distinct names.
    """
    used = np.bincount(indices, minlength=len(names)) > 0
    compact = (np.cumsum(used) - 1).astype(np.int32)[indices]
    dictionary = pa.array(
        [name for name, keep in zip(names, used, strict=True) if keep], pa.string()
    )
    return pa.DictionaryArray.from_arrays(pa.array(compact), dictionary)
