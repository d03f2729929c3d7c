"""The data that a checkpoint was trained on, or others in their stead, as a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import store_to_train_on
from setvae_cli.errors import InputError
from setvae_cli.settings.command import (
    EmbedSettings,
    EvaluateSettings,
    TrainSettings,
    VisualizeSettings,
)

if TYPE_CHECKING:
    from setvae_cli.runs.folder import RunFolder
    from setvae_cli.runs.model import LoadedModel
    from setvae_cli.store.reader import Store

Reading = VisualizeSettings | EvaluateSettings | EmbedSettings
RAW = ("source", "store")  # sections that say how raw input becomes a store


def store_for(loaded: LoadedModel, path: Path, settings: Reading, output: Output) -> Store:
    """The store that `--data` names, or that the model's run was trained on.

    Where its content is another one, that is said and not refused.

    Args:
        loaded: The model.
        path: Its checkpoint.
        settings: Of the command.
        output: Shows what is being prepared.

    Raises:
        InputError: The data are not known, or not there any more.
    """
    from setvae_cli.runs.folder import RunFolder

    run = RunFolder.of(path)
    flat = _named(loaded, settings) if settings.data else _own(loaded.settings, path, run)
    flat |= {**_raw_options(settings), "device": settings.device}
    flat |= {"group_readable": settings.group_readable}
    store = store_to_train_on(TrainSettings.from_flat(flat), output)
    _say_difference(loaded, store, output)
    return store


def _named(loaded: LoadedModel, settings: Reading) -> dict[str, Any]:
    """A store as it is; raw input is prepared as that of the run was, where it had any."""
    from setvae_cli.store.cache import is_store

    flat = {"data": settings.data, "output_dir": settings.output_dir}
    if is_store(Path(settings.data or "")):
        return flat
    fields, saved = TrainSettings.fields(), loaded.settings.to_flat()
    usual = {n: v for n, v in saved.items() if n in fields and fields[n].section in RAW}
    return {**usual, **flat, "source": "auto"}


def data_of(saved: TrainSettings, path: Path, named: str | None) -> dict[str, Any]:
    """Flat settings of the data that a run was trained on, or of others prepared as these.

    Args:
        saved: Settings of the run.
        path: Its checkpoint.
        named: Behind `--data`; None: the run's own.

    Raises:
        InputError: The data are not known, or not there any more.
    """
    from setvae_cli.runs.folder import RunFolder
    from setvae_cli.store.cache import is_store

    fields = TrainSettings.fields()
    if named is not None and is_store(Path(named)):
        return {"data": named}
    if named is None:
        flat = _own(saved, path, RunFolder.of(path))
    else:
        flat = {**saved.to_flat(), "data": named, "source": "auto"}
    return {n: v for n, v in flat.items() if n in fields and fields[n].section in RAW} | {
        "data": flat.get("data")
    }


def _own(settings: TrainSettings, path: Path, run: RunFolder | None) -> dict[str, Any]:
    """What the run was trained on, as its folder says."""
    from setvae_cli.runs.settings_file import read_settings
    from setvae_cli.training.places import check_there, from_here, is_place

    if run is None:
        what = "lies in no run, so that the data it was trained on are not known"
        raise InputError(what, where=str(path), mend="name them with --data")
    fields, written = TrainSettings.fields(), read_settings(run.settings)
    typed = {name: value for name, value in written.items() if name in fields and is_place(name)}
    places = from_here(run, typed)
    check_there(places.get("data"))
    saved = settings.to_flat()
    usual = {n: v for n, v in saved.items() if n in fields and fields[n].section in RAW}
    return {**usual, **places}


def _raw_options(settings: Reading) -> dict[str, Any]:
    """Options for raw input that were given."""
    flat = settings.to_flat()
    return {
        name: flat[name] for section in RAW for name in getattr(settings, section).model_fields_set
    }


def _say_difference(loaded: LoadedModel, store: Store, output: Output) -> None:
    if store.digest == loaded.header.data_digest:
        return
    from setvae_cli.training.changes import difference

    what = difference(loaded.vocabulary, store.vocabulary)
    output.warn(f"these are not the data that the model was trained on: {what}")
