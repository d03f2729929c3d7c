"""`setvae finetune` from Python: an encoder, a store and settings to a measured classifier."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from setvae_cli.encoders.opening import adapt
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.fit import fit
from setvae_cli.training.records import Result
from setvae_cli.training.starting import check_given


def finetune(
    encoder: str | Path | Any,
    store: str | Path | Store,
    settings: FinetuneSettings | None = None,
    *,
    sink: Callable[[object], None] = lambda record: None,
) -> Result:
    """Fine-tune an encoder on the labels of a store, in this process.

    Args:
        encoder: A checkpoint of setvae or what was exported of one; or any module behind the
            `SequenceEncoder` door, a module that takes padded events, or a callable with
            `embedding_size`. A module is copied: training begins with the weights that it has, for
            every seed, and leaves it as it is. It is shown the code numbers of the store; a
            `SetvaeEncoder` those of its `vocabulary`, matched by name.
        store: What `setvae precompute` wrote.
        settings: As those of the command, such as `FinetuneSettings.from_flat({"lr": 1e-3})`.
        sink: Listener of the records in training/records.py.

    Returns:
        The closing table; its `best` is the checkpoint that was measured.

    Raises:
        UsageError: The encoder, the store or the settings do not fit one another.
        RunError: Training failed, or the checkpoint lacks weights.
    """
    settings = settings or FinetuneSettings()
    named = isinstance(encoder, str | os.PathLike)
    check_given(settings, foreign=not named)
    opened = store if isinstance(store, Store) else Store.open(store)
    if named:
        result = fit(settings.model_copy(update={"ckpt": str(encoder)}), opened, sink)
    else:
        result = fit(settings, opened, sink, encoder=adapt(encoder, settings.tuning.pool))
    assert result is not None  # only a run that is gone on with may have nothing left to do
    return result
