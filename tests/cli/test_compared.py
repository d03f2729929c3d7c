"""Comparisons through the command line, from their first job to their table, page and picture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from tests.trained import model_for, write_trained
from tests.training.compare.compared import few_trees, numbers_of, split_store

from setvae_cli.store.reader import Store

pytestmark = pytest.mark.slow

FEW = ["--resamples", "20", "--max-epochs", "1", "--scratch-epochs", "1", "--device", "cpu"]
FOLDS = ["--folds", "2"]


@pytest.fixture(autouse=True)
def _few_trees() -> Iterator[None]:
    with few_trees():
        yield


@pytest.fixture
def trained(tmp_path: Path) -> str:
    """A checkpoint of a small cohort, made without training; to train it again takes two steps."""
    return checkpoint_of(split_store(tmp_path / "store"))


def checkpoint_of(store: Store) -> str:
    loaded = model_for(store, tasks=False, objective="elbo", max_steps=2, max_epochs=1)
    return str(write_trained(store.path.parent / "trained", loaded, str(store.path)).best_or_last())


def methods(folder: Path) -> set[str]:
    """What stands in the table that a comparison left."""
    found = json.loads((folder / "comparison.json").read_text())["comparison"]
    return {row["name"] for row in found["decisions"][-1]["rows"]}


def test_folds_and_shares_are_compared_and_an_interrupted_comparison_ends_the_same(
    here, trained: str
) -> None:
    done = here("finetune", trained, *FOLDS, "--label-fraction", "0.5,1", *FEW)
    assert done.returncode == 0, done.stderr
    whole = Path("outputs/finetune/comparison_0")
    assert methods(whole) == {
        "summary_trees", "untrained", "probe", "embedding_trees", "finetuned", "scratch",
    }  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Deciding table")
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.startswith(("50 %", "100 %"))]) == 2
    assert "Choose " in done.stdout
    assert (whole / "comparison.html").stat().st_size > 0
    picture = matplotlib.image.imread(whole / "label_efficiency.png")
    assert min(picture.shape[:2]) > 100
    assert np.ptp(picture) > 0.5

    stopped = whole.with_name("comparison_1")
    shutil.copytree(whole, stopped)
    for name in ("comparison.html", "comparison.json", "label_efficiency.png"):
        (stopped / name).unlink()
    kept = sorted((stopped / "predictions").iterdir())
    for path in kept[::3]:
        path.unlink()
        shutil.rmtree(stopped / "runs" / path.stem, ignore_errors=True)
    resumed = here("resume", str(stopped))
    assert resumed.returncode == 0, resumed.stderr
    assert sorted((stopped / "predictions").iterdir()) == kept
    assert (stopped / "comparison.json").read_bytes() == (whole / "comparison.json").read_bytes()

    store = Path(trained).parents[4] / "store"
    moved = store.rename(store.with_name("moved"))
    for path in kept[:2]:
        path.unlink()
    gone = here("resume", str(stopped))
    assert gone.returncode == 2
    assert "store: the data of the run are not there any more; name them with --data" in gone.stderr
    assert here("resume", str(stopped), "--data", str(moved)).returncode == 0
    assert sorted((stopped / "predictions").iterdir()) == kept
    assert (stopped / "comparison.json").read_bytes() == (whole / "comparison.json").read_bytes()


def test_folds_are_measured_without_fine_tuning(here, trained: str) -> None:
    done = here("evaluate", trained, *FOLDS, "--resamples", "20", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Deciding table")
    folder = Path("outputs/evaluate/comparison_0")
    assert methods(folder) == {"summary_trees", "untrained", "probe", "embedding_trees"}
    assert not (folder / "label_efficiency.png").exists()
    assert "pre-training was repeated inside every fold" in done.stdout.replace("\n  ", " ")


def test_a_table_stands_beside_a_fine_tuned_run(here, trained: str) -> None:
    done = here("finetune", trained, *FEW, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {metric["name"] for metric in told["metrics"]} == {"auroc", "auprc", "accuracy"}
    assert told["comparison"]["folds"] is None
    assert "finetuned" in methods(Path(told["run"], "comparison"))
    (auroc,) = (metric for metric in told["metrics"] if metric["name"] == "auroc")
    (row,) = (r for r in told["comparison"]["decisions"][0]["rows"] if r["name"] == "finetuned")
    assert row["auroc"]["value"] == pytest.approx(auroc["value"], abs=1e-9)


def test_without_test_labels_a_run_is_trained_and_its_table_left_out_with_a_line(
    here, tmp_path: Path
) -> None:
    store = split_store(tmp_path / "store", unlabelled=numbers_of("test"))
    done = here("finetune", checkpoint_of(store), *FEW)
    assert done.returncode == 0, done.stderr
    said = done.stderr.index("the deciding table is left out: no subject of the test split has")
    assert said < done.stderr.index("parameters")
    assert "Result" in done.stdout
    assert "Deciding table" not in done.stdout
    assert not list(Path("outputs").glob("*/*/comparison"))
