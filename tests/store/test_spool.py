"""What is remembered of parts is small, and what comes with them reaches the store."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from setvae_cli.settings.prepare import SourceSettings
from setvae_cli.sources.simulated import SimulatedSource
from setvae_cli.store import statistics
from setvae_cli.store.format import TRUTH
from setvae_cli.store.reader import Store
from setvae_cli.store.spool import _spool_part
from tests.tiny import TinySource, cohort, write


def test_what_is_remembered_of_a_subject_is_some_hundred_bytes(tmp_path: Path) -> None:
    part = next(SimulatedSource(SourceSettings(subjects=250)).parts())
    done = _spool_part((0, part), folder=tmp_path, window=None, allow_long=False)
    assert done.elements > 50_000
    assert len(pickle.dumps(done)) / 250 < 150


def test_labels_that_come_with_subjects_stand_in_the_rows(tmp_path: Path) -> None:
    parts = cohort(40, parts=2).content
    outcome = [[i % 2 for i in range(20)], [None] * 5 + [1] * 15]
    labelled = [
        replace(
            part, subjects=part.subjects.append_column("label.death", pa.array(own, pa.int32()))
        )
        for part, own in zip(parts, outcome, strict=True)
    ]
    write(TinySource(labelled), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert store.tasks == ("death",)
    assert store.labels[:, 0].tolist() == outcome[0] + [-1] * 5 + [1] * 15


def test_the_truth_of_all_parts_is_one_table(tmp_path: Path) -> None:
    source = SimulatedSource(SourceSettings(subjects=300))
    write(source, tmp_path / "store")
    truth = pa.concat_tables([part.read().truth for part in source.parts()])
    assert pq.read_table(tmp_path / "store" / TRUTH).equals(truth)


@pytest.mark.parametrize("piece", [1, 1000])
def test_statistics_do_not_depend_on_how_much_is_looked_at_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    write(SimulatedSource(SourceSettings(subjects=40)), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    monkeypatch.setattr(statistics, "_PIECE", piece)
    assert statistics.fit_vocabulary(store).digest() == store.vocabulary.digest()
