"""`setvae precompute`: a source becomes a store, part by part, in bounded memory.

parts -> cleaned, packed, spooled (workers) -> shards (workers) -> rows, splits
      -> training statistics (workers) -> manifest (workers) -> renamed into place
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
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
    check_space,
    make_folder,
    remove,
    sweep_orphans,
)
from setvae_cli.settings.prepare import StoreSettings
from setvae_cli.sources.records import Kind, Labels, Source
from setvae_cli.store.engines import Crew, map_ordered
from setvae_cli.store.format import (
    ROWS,
    SHARDS,
    TRUTH,
    VOCABULARY,
    shard_name,
)
from setvae_cli.store.pack import EMPTY_VALUE, SERIOUS
from setvae_cli.store.reader import verify
from setvae_cli.store.rows import build_rows, join_labels, join_subjects
from setvae_cli.store.spool import PrepareProgress, Sink, Spool, read_parts, write_truth
from setvae_cli.store.statistics import ShardRows, fit
from setvae_cli.store.summary import Summary, inspect, training_jobs, write_manifest
from setvae_cli.store.vocabulary import (
    Vocabulary,
    with_embedding,
    with_statistics,
    write_vocabulary,
)
from setvae_cli.store.writer import check_names, merge_parts, shard_jobs

__all__ = ["PrepareProgress", "Summary", "inspect", "precompute", "verify"]

NO_EVENTS = "subject without events"
LEAST_BYTES = {"rows": 8, "subjects": 2_000}  # of a table, of the built-in cohort
LEAST_SHARE = 16  # of the input, where rows are not counted: tables of many columns, small files
_SPOOL, _SCRATCH = "spool", "scratch"
_log = logging.getLogger(__name__)

Array = NDArray[Any]
FileState = tuple[str, int | None, int | None]  # path, bytes, ns


def precompute(
    source: Source,
    settings: StoreSettings,
    out: Path,
    *,
    workers: int | str | None = 1,
    sink: Sink,
    allow_long: bool = False,
    leaked_to: Path | None = None,
) -> Summary:
    """Write a store from a source; the bytes do not depend on the workers.

    Args:
        source: Raw data.
        settings: How events become sets, splits and a vocabulary.
        out: The folder to write; it must not exist.
        workers: Processes, or the address of a Dask scheduler; None: one process, and one a usable
            core when it takes longer than half a second.
        sink: Receives `PrepareProgress`.
        allow_long: Keep events later than ten years.
        leaked_to: File for the names of groups that stand in more than one given split.

    Raises:
        InputError: `out` exists, the disk has no room, or the data cannot be used.
        DataError: The data was changed while it was read.
        RunError: The disk is full, or a worker died.
    """
    check_free(out)
    out = out.absolute()
    sweep_orphans(out.parent)
    before = file_states(source)
    check_space(out, _least_bytes(source, before), "the store")
    with Crew(workers) as crew, atomic_path(out) as folder:
        for name in (_SPOOL, _SCRATCH, SHARDS):
            make_folder(folder / name)
        labels = source.labels()
        spool = read_parts(
            source,
            settings,
            folder / _SPOOL,
            folder / _SCRATCH,
            crew=crew,
            sink=sink,
            allow_long=allow_long,
        )
        remove(folder / _SCRATCH)
        write_truth(spool, folder / TRUTH)
        _write(source, settings, labels, spool, folder, crew, sink, leaked_to)
        if file_states(source) != before:
            raise DataError(
                "the input was changed while it was read",
                mend="run again when nothing writes to it",
            )
        sink(PrepareProgress("verifying", 0, None, "files"))
        verify(folder, workers=crew)
    return inspect(out)


def file_states(source: Source) -> list[FileState]:
    """Path, size in bytes and modification time in ns of each input file; None: out of reach."""
    return [_file_state(os.path.abspath(name)) for name in source.files()]


def _file_state(path: str) -> FileState:
    try:
        status = os.stat(path)
    except OSError:
        return path, None, None
    return path, status.st_size, status.st_mtime_ns


def _least_bytes(source: Source, states: list[FileState]) -> int:
    """What a store takes at least: a key and a value a row, or a share of what is read."""
    number, unit = source.total() or (0, "")
    read = sum(size or 0 for _, size, _ in states)
    return max(LEAST_BYTES.get(unit, 0) * number, read // LEAST_SHARE)


def _write(
    source: Source,
    settings: StoreSettings,
    outcomes: Labels | None,
    spool: Spool,
    folder: Path,
    crew: Crew,
    sink: Sink,
    leaked_to: Path | None,
) -> None:
    """Shards, rows, vocabulary and at last the manifest, into the temporary folder."""
    _check_share_dropped(spool)
    codes = tuple(sorted(spool.codes))
    check_names(codes)
    given = _given_kinds(source, settings, spool, codes)
    places, kept = _write_shards(spool, codes, given, folder, crew, sink)
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
        leaked_to,
    )
    pq.write_table(rows, folder / ROWS, write_page_checksum=True)
    sink(PrepareProgress("fitting statistics", 0, None, "rows", spool.rows))
    jobs = training_jobs(rows, folder)
    vocabulary = _fit(source, jobs, codes, given, crew)
    write_vocabulary(folder / VOCABULARY, vocabulary)
    remove(folder / _SPOOL)
    _say(spool, vocabulary)
    write_manifest(
        folder,
        rows,
        source,
        settings,
        drops=spool.drops,
        warnings=spool.warnings,
        class_names=outcomes.class_names if outcomes else {},
        workers=crew,
    )


def _check_share_dropped(spool: Spool) -> None:
    for reason in SERIOUS:
        if spool.drops[reason] > 0.05 * spool.rows:
            raise InputError(
                f"{spool.drops[reason]} of {spool.rows} rows were dropped ({reason}), "
                "more than 5 %",
                mend="check how the input was made",
            )


def _given_kinds(
    source: Source, settings: StoreSettings, spool: Spool, codes: tuple[str, ...]
) -> dict[str, Kind]:
    """Kinds that do not follow from training values."""
    unknown = sorted(set(settings.categories) - set(codes))
    if unknown:
        raise InputError(
            f"the data has no code {unknown[0]!r:.60}", where="--categories",
            mend="name codes as the data spells them",
        )  # fmt: skip
    kinds: dict[str, Kind] = {
        name: kind for name, kind in source.kinds().items() if name in spool.codes
    }
    kinds |= dict.fromkeys(settings.categories, "category")
    for name in codes:
        if not spool.valued[spool.codes[name]]:
            kinds[name] = "presence"
    return kinds


def _write_shards(
    spool: Spool,
    codes: tuple[str, ...],
    kinds: dict[str, Kind],
    folder: Path,
    crew: Crew,
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

    place = {name: number for number, name in enumerate(codes)}
    numbers = np.array([place[name] for name in spool.codes], dtype=np.int32)
    jobs = shard_jobs(spool.parts, numbers, presence, targets())
    shard, inside, sets, elements = [], [], [], []
    for number, result in enumerate(map_ordered(merge_parts, jobs, workers=crew)):
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
    crew: Crew,
) -> Vocabulary:
    vocabulary = fit(jobs, codes, kinds, workers=crew)
    statistics, embeddings = source.statistics(), source.embeddings()
    if statistics is not None:
        vocabulary = with_statistics(vocabulary, statistics)
    return vocabulary if embeddings is None else with_embedding(vocabulary, *embeddings)


def _say(spool: Spool, vocabulary: Vocabulary) -> None:
    """Warnings about the whole input: said now, and kept in the manifest."""
    unseen = int((vocabulary.counts == 0).sum())
    if unseen:
        spool.warnings.append(f"{unseen} codes never occur in training; models leave them out")
    if spool.unsorted:
        spool.warnings.append(f"{spool.unsorted} subjects had events out of time order; sorted")
    for sentence in spool.warnings:
        _log.warning("%s", sentence)
