"""Codes that a model may know by name: none that says what only a few subjects have.

A text attribute such as ward or diagnosis becomes the codes `ward=B2`, `diagnosis=...`. Names of
codes stand in every checkpoint, and a text that few have, a free one above all, tells who they are.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from setvae_cli.numbers import counted
from setvae_cli.sources.columns import is_text
from setvae_cli.store.format import ATTRIBUTE
from setvae_cli.store.reader import Store
from setvae_cli.store.vocabulary import Vocabulary

FEWEST = 10  # training subjects who share a text
_log = logging.getLogger(__name__)


def says_text(store: Store, known: Vocabulary) -> NDArray[np.bool_]:
    """Which codes of a vocabulary are a text that subjects have, not the name of something."""
    texts = tuple(
        f"{field.name.removeprefix(ATTRIBUTE)}="
        for field in store.rows.schema
        if field.name.startswith(ATTRIBUTE) and is_text(field.type)
    )
    return np.array([name.startswith(texts) for name in known.codes], dtype=bool)


def shareable_vocabulary(store: Store, refitted: Vocabulary | None = None) -> Vocabulary:
    """The store's vocabulary without texts of attributes that under ten training subjects have.

    Their events are left out of batches, as those of codes that training never saw.

    Args:
        store: Says which codes are such texts.
        refitted: Its vocabulary over other training rows than its own.
    """
    known = store.vocabulary if refitted is None else refitted
    rare = _rare(store, known)
    return known.take(np.flatnonzero(~rare)) if rare.any() else known


def numbered_vocabulary(store: Store, known: Vocabulary) -> Vocabulary:
    """A vocabulary in which such texts keep their numbers, and lose all else.

    It is for a model that has a row for every code of the store, whoever it is trained on.

    Args:
        store: Says which codes are such texts.
        known: Its vocabulary, over any training rows, or that of a model.
    """
    rare = _rare(store, known)
    if not rare.any():
        return known
    codes, kinds, quantiles = list(known.codes), list(known.kinds), list(known.quantiles)
    for i in np.flatnonzero(rare).tolist():
        codes[i], kinds[i], quantiles[i] = f"left out {i}", "presence", np.zeros(0, np.float32)
    embedding = known.embedding
    return replace(
        known,
        codes=tuple(codes),
        kinds=tuple(kinds),
        quantiles=tuple(quantiles),
        counts=np.where(rare, 0, known.counts),
        mean=np.where(rare, 0.0, known.mean),
        std=np.where(rare, 1.0, known.std),
        embedding=None if embedding is None else np.where(rare[:, None], 0, embedding),
    )


def _rare(store: Store, known: Vocabulary) -> NDArray[np.bool_]:
    """Which codes are a text that under ten training subjects have; their number is said."""
    rare = says_text(store, known) & (known.counts < FEWEST)
    if rare.any():
        _log.warning(
            "%s of attributes that fewer than %d training subjects have; left out of the model, "
            "which would say what they are",
            counted(int(rare.sum()), "text"),
            FEWEST,
        )
    return rare
