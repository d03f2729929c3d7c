"""The encoder that `setvae embed` was given: a checkpoint's, or one of another package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from setvae_cli.cli.named import named_checkpoint
from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import shown, store_to_train_on
from setvae_cli.errors import SettingsError
from setvae_cli.settings.command import EmbedSettings, TrainSettings
from setvae_cli.settings.run import LoaderSettings

FIRST_SEED = 0  # as that of a run, for an encoder without weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from setvae_cli.encoders.door import SequenceEncoder
    from setvae_cli.evaluation.embedder import Embedder
    from setvae_cli.runs.model import LoadedModel
    from setvae_cli.store.reader import Store


def trained(settings: EmbedSettings, named: str | None, output: Output) -> Embedder:
    """The model of a checkpoint, on the data that it was trained on or others.

    Args:
        settings: Of the command.
        named: The checkpoint, or a run's folder; None: the latest run.
        output: Where is said what it is.

    Raises:
        InputError: The checkpoint or its data cannot be used.
        SettingsError: An encoder of another package is needed, or given without need.
    """
    from setvae_cli.cli.trained_on import store_for
    from setvae_cli.evaluation.embedder import Embedder, check_known, rows_asked
    from setvae_cli.evaluation.views import whole_views

    path = named_checkpoint(named, settings.output_dir, output)
    if named and not os.path.isdir(named):
        output.facts([("checkpoint", shown(path))])
    loaded, encoder = _opened(settings, path)
    store = store_for(loaded, path, settings, output)
    splits = _splits(loaded, store)
    asked = rows_asked(store, splits, settings.split)
    dataset = whole_views(
        store,
        loaded.vocabulary,
        asked,
        loaded.settings.loader,
        plan_sets=loaded.model.needs_set_plan,
    )
    return Embedder(
        encoder,
        store,
        asked,
        check_known(dataset, store),
        splits,
        _about(settings, store, path),
        None if loaded.header.foreign else path,
        loaded.settings.model.dim,
        predicts=bool(loaded.header.tasks),
    )


def foreign(settings: EmbedSettings, output: Output) -> Embedder:
    """An encoder of another package, on data that it sees whole.

    Raises:
        InputError: The data or the weights cannot be used.
        SettingsError: There is no such encoder.
    """
    from setvae_cli.encoders.codes import codes_of
    from setvae_cli.encoders.opening import open_encoder
    from setvae_cli.evaluation.embedder import Embedder, check_known, rows_asked
    from setvae_cli.evaluation.views import whole_views
    from setvae_cli.store.format import SPLITS

    assert settings.encoder is not None, "it was asked for"
    _check_pooling(settings, pools=("embedding", "last", "mean"))
    if settings.data is None:
        mend = "name a store with --data, or a checkpoint"
        raise SettingsError("knows of no data", where="--encoder", mend=mend)
    if settings.encoder_checkpoint is None:
        output.warn(
            "the vectors are of an untrained network, unless --encoder brings weights of its own; "
            "name a file of them with --encoder-checkpoint"
        )
    store = store_to_train_on(_as_training(settings), output)
    encoder = open_encoder(
        settings.encoder,
        codes=len(store.vocabulary.codes),
        checkpoint=settings.encoder_checkpoint,
        pool=None if settings.encoding.pool == "embedding" else settings.encoding.pool,
        seed=FIRST_SEED,
    )
    splits = {name: store.split(name) for name in SPLITS}
    asked = rows_asked(store, splits, settings.split)
    dataset = whole_views(
        store,
        codes_of(encoder, store, store.vocabulary),
        asked,
        LoaderSettings(max_sequence_length=None),
        plan_sets=bool(getattr(encoder, "needs_set_plan", False)),
    )
    about = _about(settings, store, settings.encoder_checkpoint)
    check_known(dataset, store)
    width = encoder.embedding_size
    return Embedder(encoder, store, asked, dataset, splits, about, None, width)


def _opened(settings: EmbedSettings, path: Path) -> tuple[LoadedModel, SequenceEncoder]:
    """The checkpoint's model, and what of it embeds."""
    from setvae_cli.encoders.classifier import Classifier
    from setvae_cli.encoders.opening import open_encoder
    from setvae_cli.encoders.setvae import SetvaeEncoder
    from setvae_cli.runs.checkpoint import read
    from setvae_cli.runs.model import rebuild

    content = read(path, mapped=True)
    header, theirs = content.header, None
    if settings.encoder is not None:
        if header.foreign is None:
            what = "is given beside a checkpoint that holds its own model"
            raise SettingsError(what, where="--encoder", mend="keep one")
        codes = len(header.vocabulary["codes"])
        pool = header.settings.get("pool")
        theirs = open_encoder(settings.encoder, codes=codes, pool=pool)
    loaded = rebuild(header, content.weights(), path, theirs)
    if isinstance(loaded.model, Classifier):
        _check_pooling(settings, pools=("embedding",))
        return loaded, cast("SequenceEncoder", loaded.model.encoder)
    chosen = settings.encoding
    return loaded, SetvaeEncoder(loaded.model, chosen.pool, chosen.pool_of).eval()


def _check_pooling(settings: EmbedSettings, *, pools: tuple[str, ...]) -> None:
    """Refuse what an encoder of another package cannot give.

    Raises:
        SettingsError: Another pooling is asked for.
    """
    option = "--pool" if settings.encoding.pool not in pools else "--pool-of"
    if option == "--pool" or settings.encoding.pool_of != "history":
        what, mend = "is for models of setvae, and this is another encoder", "leave it out"
        raise SettingsError(what, where=option, mend=mend)


def _splits(loaded: LoadedModel, store: Store) -> Mapping[str, NDArray[np.int64]]:
    """Rows by split as the model's run saw them; those of other data are their own."""
    from setvae_cli.data.portion import split_rows
    from setvae_cli.store.format import SPLITS

    if store.digest == loaded.header.data_digest:
        return {name: split_rows(loaded.settings, store, name) for name in SPLITS}
    return {name: store.split(name) for name in SPLITS}


def _about(settings: EmbedSettings, store: Store, weights: Path | None) -> dict[str, str]:
    """Where vectors come from: versions, names and digests, and no path."""
    from importlib.metadata import version

    from setvae_cli.files import sha256

    pool, pool_of = settings.encoding.pool, settings.encoding.pool_of
    about = {
        "version": version("setvae-cli"),
        "pooling": pool if pool == "embedding" else f"{pool} of {pool_of}",
        "data_digest": store.digest,
        "split": settings.split,
    }
    if settings.encoder is not None:
        about |= {"encoder": settings.encoder, "pooling": pool}
    if weights is not None:
        about |= {"checkpoint": weights.name, "checkpoint_sha256": sha256(weights)}
    return about


def _as_training(settings: EmbedSettings) -> TrainSettings:
    """What says how raw input becomes a store."""
    flat = {
        name: value
        for name, value in settings.to_flat().items()
        if settings.fields()[name].section in ("source", "store")
    }
    places = ("data", "output_dir", "device", "group_readable")
    return TrainSettings.from_flat({**flat, **{each: getattr(settings, each) for each in places}})
