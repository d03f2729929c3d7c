"""Parts are read, cleaned and put on disk; what is remembered of each is small.

In memory stay, a subject, its row of the table of subjects and a fingerprint, about 100 bytes with
a short id and four attributes; a part, the numbers of its codes. All else waits in the spool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from setvae_cli.errors import InputError
from setvae_cli.files import disk_errors
from setvae_cli.settings.prepare import StoreSettings
from setvae_cli.sources.records import Part, Source
from setvae_cli.store.engines import Crew, map_ordered
from setvae_cli.store.format import write_shard
from setvae_cli.store.pack import pack_records
from setvae_cli.store.writer import SpooledPart

Array = NDArray[Any]
Sink = Callable[[object], None]


@dataclass(frozen=True)
class PrepareProgress:
    """How far preparation is.

    Attributes:
        doing: What is being done now.
        done, total: Amount of work; total None: unknown.
        unit: Of what.
        rows: Rows read so far.
    """

    doing: str
    done: int
    total: int | None
    unit: str
    rows: int = 0


@dataclass
class Spool:
    """What is remembered of the parts.

    Attributes:
        parts: Their events, on disk.
        subjects: Their subjects.
        fingerprints: A number a subject that depends on its events only, a part.
        truths: Files of what is known behind the events.
        codes: A number for each code, in the order in which they were met.
        valued: For each of these, whether any event has a value.
        drops: Rows left out, by reason.
        warnings: Sentences for the person.
        rows: Rows read, those dropped included.
        n_subjects: Subjects read.
        unsorted: Subjects whose events were not in time order.
    """

    parts: list[SpooledPart] = field(default_factory=list)
    subjects: list[pa.Table] = field(default_factory=list)
    fingerprints: list[Array] = field(default_factory=list)
    truths: list[Path] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    valued: list[bool] = field(default_factory=list)
    drops: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    rows: int = 0
    n_subjects: int = 0
    unsorted: int = 0

    def number(self, name: str, valued: bool) -> int:
        """The number of a code, which is met with a value or without."""
        number = self.codes.setdefault(name, len(self.codes))
        if number == len(self.valued):
            self.valued.append(False)
        self.valued[number] |= valued
        return number


@dataclass(frozen=True)
class _PartDone:
    path: Path
    elements: int
    codes: tuple[str, ...]
    subjects: pa.Table
    fingerprints: Array
    truth: Path | None
    valued: Array
    rows: int
    unsorted: int
    drops: dict[str, int]
    warnings: tuple[str, ...]


def read_parts(
    source: Source,
    settings: StoreSettings,
    folder: Path,
    scratch: Path,
    *,
    crew: Crew,
    sink: Sink,
    allow_long: bool,
) -> Spool:
    """Read every part of a source into the spool.

    Args:
        source: Raw data.
        settings: How events become sets.
        folder: Where the spool is written.
        scratch: Where the source may put things aside.
        crew: Who reads.
        sink: Receives `PrepareProgress`.
        allow_long: Keep events later than ten years.

    Raises:
        InputError: The source has no part, or one cannot be used.
        RunError: The disk is full, or a worker died.
    """
    spool, unit = Spool(), (source.total() or (None, "subjects"))
    one = partial(_spool_part, folder=folder, window=settings.set_window, allow_long=allow_long)
    sink(_progress(spool, *unit))  # a table out of order takes a while until its first part
    for done in map_ordered(one, enumerate(source.parts(scratch)), workers=crew):
        _remember(spool, done)
        sink(_progress(spool, *unit))
    if not spool.parts:
        raise InputError("the input holds no data", mend="check the path")
    return spool


def write_truth(spool: Spool, path: Path) -> None:
    """Write what is known behind the events, if anything is; read through the page cache."""
    tables = []
    for part in spool.truths:
        with pa.memory_map(str(part)) as file:
            tables.append(pa.ipc.open_file(file).read_all())
    if tables:
        pq.write_table(pa.concat_tables(tables), path, write_page_checksum=True)


def _spool_part(
    numbered: tuple[int, Part], *, folder: Path, window: float | None, allow_long: bool
) -> _PartDone:
    number, part = numbered
    records = part.read()
    cleaned = pack_records(records, set_window=window, allow_long=allow_long)
    path = folder / f"{number:06d}.arrow"
    with disk_errors(path):
        write_shard(path, cleaned.packed)
        truth = _put_aside(records.truth, folder / f"{number:06d}.truth.arrow")
    return _PartDone(
        path,
        len(cleaned.packed.keys),
        cleaned.codes,
        records.subjects,
        cleaned.fingerprints,
        truth,
        cleaned.valued,
        cleaned.rows,
        cleaned.unsorted,
        cleaned.drops,
        records.warnings,
    )


def _put_aside(table: pa.Table | None, path: Path) -> Path | None:
    if table is None:
        return None
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


def _remember(spool: Spool, done: _PartDone) -> None:
    numbers = [spool.number(*one) for one in zip(done.codes, done.valued.tolist(), strict=True)]
    codes = np.array(numbers, dtype=np.int32)
    spool.parts.append(SpooledPart(done.path, codes, done.elements))
    spool.subjects.append(done.subjects)
    spool.fingerprints.append(done.fingerprints)
    spool.truths.extend([done.truth] if done.truth else [])
    spool.drops.update(done.drops)
    spool.warnings.extend(w for w in done.warnings if w not in spool.warnings)
    spool.rows += done.rows
    spool.n_subjects += done.subjects.num_rows
    spool.unsorted += done.unsorted


def _progress(spool: Spool, total: int | None, unit: str) -> PrepareProgress:
    done = {"rows": spool.rows, "parts": len(spool.parts)}
    return PrepareProgress("reading", done.get(unit, spool.n_subjects), total, unit, spool.rows)
