"""`setvae precompute`: a source becomes a store, part by part, in bounded memory.

parts -> cleaned, packed, spooled (workers) -> shards (workers) -> rows, splits
      -> training statistics (workers) -> manifest -> renamed into place
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from setvae_cli.errors import DataError, InputError
from setvae_cli.files import (
    atomic_path,
    check_free,
    disk_errors,
    make_folder,
    remove,
    sweep_orphans,
)
from setvae_cli.settings.prepare import StoreSettings
from setvae_cli.sources.records import Kind, Labels, Part, Source
from setvae_cli.store.engines import map_ordered
from setvae_cli.store.format import (
    ROWS,
    SHARDS,
    TRUTH,
    VOCABULARY,
    shard_name,
    write_shard,
)
from setvae_cli.store.pack import EMPTY_VALUE, SERIOUS, pack_records
from setvae_cli.store.reader import verify
from setvae_cli.store.rows import build_rows, join_labels, join_subjects
from setvae_cli.store.statistics import ShardRows, fit
from setvae_cli.store.summary import Summary, inspect, training_jobs, write_manifest
from setvae_cli.store.vocabulary import (
    Vocabulary,
    with_embedding,
    with_statistics,
    write_vocabulary,
)
from setvae_cli.store.writer import SpooledPart, check_names, merge_parts, shard_jobs

__all__ = ["PrepareProgress", "Summary", "inspect", "precompute", "verify"]

NO_EVENTS = "subject without events"
_SPOOL = "spool"
_log = logging.getLogger(__name__)

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
class _Spool:
    """What is remembered of the parts; their events are on disk."""

    parts: list[SpooledPart] = field(default_factory=list)
    subjects: list[pa.Table] = field(default_factory=list)
    fingerprints: list[Array] = field(default_factory=list)
    valued: dict[str, bool] = field(default_factory=dict)
    drops: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    rows: int = 0
    unsorted: int = 0


@dataclass(frozen=True)
class _PartDone:
    spooled: SpooledPart
    subjects: pa.Table
    fingerprints: Array
    valued: Array
    rows: int
    unsorted: int
    drops: dict[str, int]
    warnings: tuple[str, ...]


def precompute(
    source: Source,
    settings: StoreSettings,
    out: Path,
    *,
    workers: int | str = 1,
    sink: Sink,
    allow_long: bool = False,
) -> Summary:
    """Write a store from a source; the bytes do not depend on the workers.

    Args:
        source: Raw data.
        settings: How events become sets, splits and a vocabulary.
        out: The folder to write; it must not exist.
        workers: Processes, or the address of a Dask scheduler.
        sink: Receives `PrepareProgress`.
        allow_long: Keep events later than ten years.

    Raises:
        InputError: `out` exists, or the data cannot be used.
        DataError: The data was changed while it was read.
        RunError: The disk is full, or a worker died.
    """
    check_free(out)
    out = out.absolute()
    sweep_orphans(out.parent)
    before = file_states(source)
    with atomic_path(out) as folder:
        for name in (_SPOOL, SHARDS):
            make_folder(folder / name)
        labels, truth = source.labels(), source.truth()
        spool = _read_parts(source, settings, folder / _SPOOL, workers, sink, allow_long)
        if truth is not None:
            pq.write_table(truth, folder / TRUTH, write_page_checksum=True)
        _write(source, settings, labels, spool, folder, workers, sink)
        if file_states(source) != before:
            raise DataError(
                "the input was changed while it was read",
                mend="run again when nothing writes to it",
            )
        sink(PrepareProgress("verifying", 0, None, "files"))
        verify(folder)
    return inspect(out)


def file_states(source: Source) -> list[tuple[str, int | None, int | None]]:
    """Path, size in bytes and modification time in ns of each input file; None: out of reach."""
    return [_file_state(os.path.abspath(name)) for name in source.files()]


def _file_state(path: str) -> tuple[str, int | None, int | None]:
    try:
        status = os.stat(path)
    except OSError:
        return path, None, None
    return path, status.st_size, status.st_mtime_ns


def _read_parts(
    source: Source,
    settings: StoreSettings,
    folder: Path,
    workers: int | str,
    sink: Sink,
    allow_long: bool,
) -> _Spool:
    spool, unit = _Spool(), (source.total() or (None, "subjects"))
    one = partial(_spool_part, folder=folder, window=settings.set_window, allow_long=allow_long)
    for done in map_ordered(one, enumerate(source.parts()), workers=workers):
        spool.parts.append(done.spooled)
        spool.subjects.append(done.subjects)
        spool.fingerprints.append(done.fingerprints)
        for name, valued in zip(done.spooled.codes, done.valued.tolist(), strict=True):
            spool.valued[name] = spool.valued.get(name, False) or valued
        spool.drops.update(done.drops)
        spool.warnings.extend(w for w in done.warnings if w not in spool.warnings)
        spool.rows, spool.unsorted = spool.rows + done.rows, spool.unsorted + done.unsorted
        sink(_progress(spool, *unit))
    if not spool.parts:
        raise InputError("the input holds no data", mend="check the path")
    return spool


def _progress(spool: _Spool, total: int | None, unit: str) -> PrepareProgress:
    done = {"rows": spool.rows, "parts": len(spool.parts)}
    subjects = sum(table.num_rows for table in spool.subjects)
    return PrepareProgress("reading", done.get(unit, subjects), total, unit, spool.rows)


def _spool_part(
    numbered: tuple[int, Part], *, folder: Path, window: float | None, allow_long: bool
) -> _PartDone:
    number, part = numbered
    records = part.read()
    cleaned = pack_records(records, set_window=window, allow_long=allow_long)
    path = folder / f"{number:06d}.arrow"
    with disk_errors(path):
        write_shard(path, cleaned.packed)
    return _PartDone(
        SpooledPart(path, cleaned.codes, len(cleaned.packed.keys)),
        records.subjects,
        cleaned.fingerprints,
        cleaned.valued,
        cleaned.rows,
        cleaned.unsorted,
        cleaned.drops,
        records.warnings,
    )


def _write(
    source: Source,
    settings: StoreSettings,
    outcomes: Labels | None,
    spool: _Spool,
    folder: Path,
    workers: int | str,
    sink: Sink,
) -> None:
    """Shards, rows, vocabulary and at last the manifest, into the temporary folder."""
    _check_share_dropped(spool)
    codes = tuple(sorted(spool.valued))
    check_names(codes)
    given = _given_kinds(source, settings, spool, codes)
    places, kept = _write_shards(spool, codes, given, folder, workers, sink)
    everyone = join_subjects(spool.subjects)
    labels = join_labels(everyone, outcomes)
    filled = np.flatnonzero(kept)
    spool.drops[NO_EVENTS] += len(kept) - len(filled)
    rows = build_rows(
        everyone.take(filled),
        {task: array.take(pa.array(filled)) for task, array in labels.items()},
        places,
        np.concatenate(spool.fingerprints)[filled],
        settings,
    )
    pq.write_table(rows, folder / ROWS, write_page_checksum=True)
    sink(PrepareProgress("fitting statistics", 0, None, "rows", spool.rows))
    jobs = training_jobs(rows, folder)
    vocabulary = _fit(source, jobs, codes, given, workers)
    write_vocabulary(folder / VOCABULARY, vocabulary)
    remove(folder / _SPOOL)
    _say(spool, vocabulary)
    write_manifest(folder, rows, source, settings, drops=spool.drops, warnings=spool.warnings)


def _check_share_dropped(spool: _Spool) -> None:
    for reason in SERIOUS:
        if spool.drops[reason] > 0.05 * spool.rows:
            raise InputError(
                f"{spool.drops[reason]} of {spool.rows} rows were dropped ({reason}), "
                "more than 5 %",
                mend="check how the input was made",
            )


def _given_kinds(
    source: Source, settings: StoreSettings, spool: _Spool, codes: tuple[str, ...]
) -> dict[str, Kind]:
    """Kinds that do not follow from training values."""
    unknown = sorted(set(settings.categories) - set(codes))
    if unknown:
        raise InputError(
            f"the data has no code {unknown[0]!r:.60}", where="--categories",
            mend="name codes as the data spells them",
        )  # fmt: skip
    kinds: dict[str, Kind] = {
        name: kind for name, kind in source.kinds().items() if name in spool.valued
    }
    kinds |= dict.fromkeys(settings.categories, "category")
    for name in codes:
        if not spool.valued[name]:
            kinds[name] = "presence"
    return kinds


def _write_shards(
    spool: _Spool,
    codes: tuple[str, ...],
    kinds: dict[str, Kind],
    folder: Path,
    workers: int | str,
    sink: Sink,
) -> tuple[dict[str, Array], NDArray[np.bool_]]:
    """Write all shards.

    Returns:
        Places of the rows that are kept, and which subjects these are.
    """
    presence = np.array([kinds.get(name) == "presence" for name in codes], dtype=bool)
    written = 0

    def targets() -> Iterator[Path]:
        return (folder / shard_name(i) for i in count())

    jobs = shard_jobs(spool.parts, codes, presence, targets())
    shard, inside, sets, elements = [], [], [], []
    for number, result in enumerate(map_ordered(merge_parts, jobs, workers=workers)):
        filled = result.elements[result.elements > 0]
        shard.append(np.full(len(filled), number))
        inside.append(np.arange(len(filled)))
        sets.append(result.sets)
        elements.append(result.elements)
        spool.drops[EMPTY_VALUE] += result.empty_values
        written += len(filled)
        sink(PrepareProgress("writing shards", written, None, "subjects", spool.rows))
    n_sets, n_elements = np.concatenate(sets), np.concatenate(elements)
    kept = n_elements > 0
    places = {"shard": np.concatenate(shard), "row_in_shard": np.concatenate(inside)}
    return places | {"n_sets": n_sets[kept], "n_elements": n_elements[kept]}, kept


def _fit(
    source: Source,
    jobs: list[ShardRows],
    codes: tuple[str, ...],
    kinds: dict[str, Kind],
    workers: int | str,
) -> Vocabulary:
    vocabulary = fit(jobs, codes, kinds, workers=workers)
    statistics, embeddings = source.statistics(), source.embeddings()
    if statistics is not None:
        vocabulary = with_statistics(vocabulary, statistics)
    return vocabulary if embeddings is None else with_embedding(vocabulary, *embeddings)


def _say(spool: _Spool, vocabulary: Vocabulary) -> None:
    """Warnings about the whole input: said now, and kept in the manifest."""
    unseen = int((vocabulary.counts == 0).sum())
    if unseen:
        spool.warnings.append(f"{unseen} codes never occur in training; models leave them out")
    if spool.unsorted:
        spool.warnings.append(f"{spool.unsorted} subjects had events out of time order; sorted")
    for sentence in spool.warnings:
        _log.warning("%s", sentence)
