"""The built-in cohort's store brings what is known behind its events."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources.recognise import open_source
from setvae_cli.store.format import TRUTH
from setvae_cli.store.precompute import precompute
from setvae_cli.store.reader import Store


def test_the_truth_of_the_built_in_cohort_lies_beside_its_store(tmp_path: Path) -> None:
    source = open_source(None, SourceSettings(subjects=40))
    precompute(source, StoreSettings(), tmp_path / "store", sink=lambda _: None)
    store, truth = Store.open(tmp_path / "store"), pq.read_table(tmp_path / "store" / TRUTH)
    assert TRUTH in store.manifest.files
    known = dict(zip(truth["subject_id"].to_pylist(), truth["death"].to_pylist(), strict=True))
    ids = store.rows["subject_id"].to_pylist()
    assert [known[i] for i in ids] == store.labels[:, 0].tolist()
