"""The table is measured on what the jobs of a comparison kept, and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from setvae_cli.evaluation.metrics import rank_metrics
from setvae_cli.store.reader import Store
from setvae_cli.training.compare.comparison import Comparison
from setvae_cli.training.compare.decided import decided
from setvae_cli.training.compare.folder import Predicted
from setvae_cli.training.compare.jobs import Job, Place
from setvae_cli.training.compare.material import Material
from tests.training.compare.compared import comparison_of, said, split_store

PLACE = Place(0, None, 1.0)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A comparison whose methods said random things, the same of no two of them.

    What is said of validation rows has another centre and spread than what is said of test rows.
    """
    folder = tmp_path_factory.mktemp("kept")
    store = split_store(folder / "store")
    compared = comparison_of(store, folder, ensemble=3, resamples=0)
    rows, generator = Material(compared).rows(PLACE), np.random.default_rng(0)
    for number, job in enumerate(job for job in compared.extent.jobs() if job.predicts):
        logits = generator.normal(size=(len(rows.judged), 1))
        logits[: len(rows.validation)] *= 1 + 4 * (number % 3)
        logits[: len(rows.validation)] += number
        compared.folder.write(job, rows.predicted(logits))
    return compared


def auroc(store: Store, predicted: Predicted, logits: np.ndarray | None = None) -> float:
    """Of the test rows of a file, or of other logits of theirs."""
    of = predicted.logits[predicted.tested] if logits is None else logits
    truth = store.labels[predicted.rows[predicted.tested], 0] == 1
    return float(rank_metrics(of[:, 0], truth)[0][0])


def found(compared: Comparison) -> dict[str, float]:
    (decision,) = decided(compared).decisions
    return {row.name: row.auroc.value for row in decision.rows}


def test_a_method_is_measured_on_its_own_predictions_of_the_test_rows(kept: Comparison) -> None:
    told, files = found(kept), said(kept)
    for name in ("probe", "embedding_trees", "summary_trees"):
        assert told[name] == auroc(kept.store, files[Job(name, PLACE).key])
    for name in ("untrained", "finetuned", "scratch"):
        each = [auroc(kept.store, files[Job(name, PLACE, seed).key]) for seed in range(3)]
        assert len(set(each)) == 3
        assert told[name] == pytest.approx(np.mean(each), abs=1e-12)


def test_an_ensemble_is_the_mean_of_the_logits_of_all_seeds(kept: Comparison) -> None:
    seeds = [kept.folder.read(Job("finetuned", PLACE, seed)) for seed in range(3)]
    mean = np.mean([one.logits[one.tested] for one in seeds], axis=0)
    assert found(kept)["ensemble"] == auroc(kept.store, seeds[0], mean)


def test_a_blend_weighs_its_parts_by_their_spread_on_validation(kept: Comparison) -> None:
    seeds = [kept.folder.read(Job("finetuned", PLACE, seed)) for seed in range(3)]
    trees = kept.folder.read(Job("summary_trees", PLACE))
    parts = [np.mean([one.logits for one in seeds], axis=0), trees.logits]
    standardised = [
        (part - part[~trees.tested].mean()) / part[~trees.tested].std() for part in parts
    ]
    expected = sum(standardised)[trees.tested]
    assert found(kept)["blend"] == auroc(kept.store, trees, expected)
    by_test = [part[trees.tested] / part[trees.tested].std() for part in parts]
    assert found(kept)["blend"] != auroc(kept.store, trees, sum(by_test))
