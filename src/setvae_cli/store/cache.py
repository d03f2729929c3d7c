"""What `--data` names becomes a store: opened as it is, or precomputed once into a private cache.

The key covers the path, size and modification time of every file that is read, and all settings;
it is a hash, so that no name of a file or of a patient stands in it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from setvae_cli.errors import DataError, RunError, placed
from setvae_cli.files import check_regular, make_folder, remove
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources.recognise import open_source
from setvae_cli.sources.records import Source
from setvae_cli.store.format import FORMAT_VERSION, MANIFEST
from setvae_cli.store.precompute import precompute
from setvae_cli.store.reader import Store

_log = logging.getLogger(__name__)


def is_store(path: Path) -> bool:
    """Whether a path is the folder of a store."""
    return (path / MANIFEST).is_file()


def prepared(
    data: Path | None,
    source_settings: SourceSettings,
    store_settings: StoreSettings,
    cache_root: Path,
    *,
    sink: Callable[[object], None],
    workers: int | str = 1,
) -> Store:
    """Open a store, or make one of raw input in the cache and open that.

    Args:
        data: A store, raw input, or None for the built-in cohort.
        source_settings: How raw input is read.
        store_settings: How it becomes a store.
        cache_root: The private folder of the cache.
        sink: Receives `PrepareProgress` while a store is made, and then its `Summary`.
        workers: Processes that make it.

    Raises:
        InputError: The input cannot be used.
        DataError: The input was changed while it was read.
    """
    if data is not None and is_store(data):
        return Store.open(data)
    source = open_source(data, source_settings)
    key = _key(source, source_settings, store_settings)
    make_folder(cache_root.parent)
    place = make_folder(cache_root) / key
    if place.exists():
        try:
            return Store.open(place)
        except (DataError, RunError) as error:
            _log.warning("the cached store cannot be used and is made again: %s", error.what)
            remove(place)
    with placed(data):
        _fill(source, source_settings, store_settings, place, sink=sink, workers=workers)
    if _key(source, source_settings, store_settings) != key:
        remove(place)
        raise DataError(
            "the input was changed while it was read",
            where=None if data is None else str(data),
            mend="run again when nothing writes to it",
        )
    return Store.open(place)


def _fill(
    source: Source,
    source_settings: SourceSettings,
    store_settings: StoreSettings,
    place: Path,
    *,
    sink: Callable[[object], None],
    workers: int | str,
) -> None:
    """Precompute, unless another process was faster with the same."""
    try:
        summary = precompute(
            source,
            store_settings,
            place,
            workers=workers,
            sink=sink,
            allow_long=source_settings.allow_long,
        )
        sink(summary)
    except RunError:
        if not is_store(place):
            raise


def _key(source: Source, source_settings: SourceSettings, store_settings: StoreSettings) -> str:
    files = []
    for name in source.files():
        status = check_regular(Path(name), "input").stat()
        files.append([str(Path(name).absolute()), status.st_size, status.st_mtime_ns])
    plain = [
        FORMAT_VERSION,
        source.name,
        files,
        source_settings.model_dump(mode="json"),
        store_settings.model_dump(mode="json"),
    ]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]
