"""A model knows no text of an attribute that only a few subjects have."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from setvae_cli.store.reader import Store
from setvae_cli.store.shareable import shareable_vocabulary
from tests.tiny import TinySource, outcomes, records, write

NOTES = ["said something"] + ["ward B"] * 30 + [f"free text {i}" for i in range(9)]


def store_with(folder: Path, notes: list[str] | list[float]) -> Store:
    """Subjects whose attribute `note` is an event too, as sources make one of it."""
    names = [f"s{i}" for i in range(len(notes))]
    events = [(name, 0.0, "lab", 1.0 + i) for i, name in enumerate(names)]
    events += [
        (name, 0.0, f"note={note}" if isinstance(note, str) else "note", None)
        for name, note in zip(names, notes, strict=True)
    ]
    part = records(events, attribute__note=notes, split=["train"] * 34 + ["validation", "test"] * 3)
    labels = outcomes({name: int(i % 2) for i, name in enumerate(names)})
    write(TinySource([part], labels), folder / "store")
    return Store.open(folder / "store")


def test_texts_that_few_subjects_have_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_with(tmp_path, NOTES)
    with caplog.at_level(logging.WARNING):
        known = shareable_vocabulary(store)
    assert known.codes == ("lab", "note=ward B")
    assert known.counts.tolist() == [34, 30]
    assert len(known.quantiles) == len(known.mean) == len(known.kinds) == 2
    assert "10 texts of attributes that fewer than 10 training subjects have" in caplog.text
    assert "free" not in caplog.text
    assert len(store.vocabulary.codes) == 12


def test_other_stores_keep_their_vocabulary_as_it_is(tmp_path: Path) -> None:
    store = store_with(tmp_path, np.arange(40.0).tolist())
    assert shareable_vocabulary(store) is store.vocabulary
