"""Codes that a model may know by name: none that says what only a few subjects have.

A text attribute such as ward or diagnosis becomes the codes `ward=B2`, `diagnosis=...`. Names of
codes stand in every checkpoint, and a text that few have, a free one above all, tells who they are.
"""

from __future__ import annotations

import logging

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
    rare = says_text(store, known) & (known.counts < FEWEST)
    if not rare.any():
        return known
    _log.warning(
        "%s of attributes that fewer than %d training subjects have; left out of the model, which "
        "would say what they are",
        counted(int(rare.sum()), "text"),
        FEWEST,
    )
    return known.take(np.flatnonzero(~rare))
