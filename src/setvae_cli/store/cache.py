"""What `--data` names becomes a store: opened as it is, or precomputed once into a private cache.

The key covers the path, size and modification time of every file that is read, all settings, and
the version of setvae; it is a hash, so that no name of a file or of a patient stands in it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from setvae_cli.errors import InputError, RunError, SettingsError, placed
from setvae_cli.files import make_folder, remove, sweep_orphans
from setvae_cli.settings.base import Settings
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources.recognise import open_source
from setvae_cli.sources.records import Source
from setvae_cli.store.eviction import evict, open_held
from setvae_cli.store.format import FORMAT_VERSION, MANIFEST
from setvae_cli.store.precompute import file_states, precompute
from setvae_cli.store.reader import Store

CACHE = ".cache"  # folder of prepared stores, beside the runs

_log = logging.getLogger(__name__)


def is_store(path: Path) -> bool:
    """Whether a path is the folder of a store."""
    return os.path.isfile(path / MANIFEST)  # unlike Path.is_file, also of impossible names


def prepared(
    data: Path | None,
    source_settings: SourceSettings,
    store_settings: StoreSettings,
    cache_root: Path,
    *,
    sink: Callable[[object], None],
    workers: int | str | None = 1,
) -> Store:
    """Open a store, or make one of raw input in the cache and open that.

    Args:
        data: A store, raw input, or None for the built-in cohort.
        source_settings: How raw input is read.
        store_settings: How it becomes a store.
        cache_root: The private folder of the cache, which keeps the stores that were used last.
        sink: Receives `PrepareProgress` while a store is made, and then its `Summary`.
        workers: Processes that make it.

    Raises:
        InputError: The input cannot be used.
        SettingsError: A setting for raw input was given with a store.
        DataError: The input was changed while it was read.
    """
    if data is not None and is_store(data):
        _refuse_changes(data, source_settings)
        _refuse_changes(data, store_settings)
        return Store.open(data)
    source = open_source(data, source_settings)
    key = _key(source, source_settings, store_settings)
    make_folder(cache_root.parent)
    place = make_folder(cache_root) / key
    sweep_orphans(cache_root)
    store = _usable(place)
    if store is None:
        with placed(data):
            _fill(source, source_settings, store_settings, place, sink=sink, workers=workers)
        store = open_held(place) or Store.open(place)
    evict(cache_root)
    return store


def _usable(place: Path) -> Store | None:
    """The store that is in the cache, unless it is damaged; then it goes."""
    try:
        return open_held(place)
    except (RunError, InputError) as error:
        _log.warning("the cached store cannot be used and is made again: %s", error.what)
        remove(place)
        return None


def _refuse_changes(data: Path, settings: Settings) -> None:
    """Make sure that nothing was asked for that a prepared store cannot follow any more."""
    usual = type(settings)().model_dump()
    for name, value in settings.model_dump().items():
        if value != usual[name]:
            raise SettingsError(
                f"is for raw input, and {data} is prepared already",
                where="--" + name.replace("_", "-"),
                mend="leave it out or prepare again",
            )


def _fill(
    source: Source,
    source_settings: SourceSettings,
    store_settings: StoreSettings,
    place: Path,
    *,
    sink: Callable[[object], None],
    workers: int | str | None,
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
    except (RunError, InputError):
        if not is_store(place):
            raise


def _key(source: Source, source_settings: SourceSettings, store_settings: StoreSettings) -> str:
    plain = [
        FORMAT_VERSION,
        _version(),
        source.name,
        file_states(source),
        source_settings.model_dump(mode="json"),
        store_settings.model_dump(mode="json"),
    ]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]


def _version() -> str | None:
    try:
        return version("setvae-cli")
    except PackageNotFoundError:
        return None
