"""The closing table of a run says what `setvae evaluate` says of its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from setvae_cli.evaluation.findings import Provenance
from setvae_cli.evaluation.measured_split import Wanted, measure_split
from setvae_cli.runs.model import load_model
from setvae_cli.training.fit import fit
from tests.training.compare.compared import split_store
from tests.training.resuming import ignore
from tests.training.tuned import checkpoint_of, settings_in

SOURCE = Provenance("", "", 0, "", "", "", "")


@pytest.mark.slow
def test_stays_of_a_patient_are_drawn_together_as_evaluate_draws_them(tmp_path: Path) -> None:
    store = split_store(tmp_path / "store", stays=2)
    assert len(store.rows["group_id"].unique()) == len(store) / 2
    settings = settings_in(tmp_path, checkpoint_of(store, tmp_path / "trained"), max_epochs=1)
    closing = fit(settings, store, ignore)
    loaded, wanted = load_model(Path(closing.best)), Wanted("test", ("death",))
    measured = measure_split(loaded, store, wanted, SOURCE, progress=lambda doing, share: None)
    (task,) = measured.findings.tasks
    scores = {one.name: one for one in task.scores}
    for metric in closing.metrics:
        same = scores[metric.name]
        assert metric.value == pytest.approx(same.value, abs=1e-6)
        assert (metric.low, metric.high) == pytest.approx((same.low, same.high), abs=1e-6)
