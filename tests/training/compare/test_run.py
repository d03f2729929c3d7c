"""A comparison from its jobs to its table, also when it is stopped between any two of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from setvae_cli.cli.deciding_table import plain, table
from setvae_cli.errors import InputError
from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.folder import RunFolder, newest_first
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.sources.records import Labels
from setvae_cli.store.reader import Store
from setvae_cli.training.compare.comparison import Comparison
from setvae_cli.training.compare.decided import decided, notes
from setvae_cli.training.compare.folder import ComparisonFolder
from setvae_cli.training.compare.run import JobStarted, check_rows, run
from tests.tiny import cohort, outcomes, write
from tests.trained import model_for, write_trained
from tests.training.compare.compared import comparison_of, numbers_of, split_store


class Stopped(Exception):
    """Stands for a process that ends."""


def comparison(store: Store, trained: RunFolder, folder: Path, **options: object) -> Comparison:
    settings = FinetuneSettings.from_flat(
        {
            "ckpt": str(trained.best_or_last()),
            "data": str(store.path),
            "folds": 2,
            "ensemble": 2,
            "with_trees": True,
            "label_fraction": (0.5, 1.0),
            "max_epochs": 1,
            "max_steps": 2,
            "scratch_epochs": 1,
            "resamples": 20,
            "device": "cpu",
            **options,
        }
    )
    from setvae_cli.training.starting import open_origin, with_architecture

    origin = open_origin(trained.best_or_last())
    settings = with_architecture(settings, origin.header, origin.path)
    return Comparison(settings, store, ComparisonFolder(folder))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(write(cohort(60), tmp_path_factory.mktemp("compare") / "store").path)


@pytest.fixture(scope="module")
def trained(store: Store, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    loaded = model_for(store, tasks=False, objective="elbo", max_steps=2, max_epochs=1)
    return write_trained(tmp_path_factory.mktemp("trained"), loaded, str(store.path))


@pytest.mark.slow
def test_a_comparison_stopped_before_every_job_ends_as_one_that_was_not(
    store: Store, trained: RunFolder, tmp_path: Path
) -> None:
    whole = comparison(store, trained, tmp_path / "whole")
    run(whole, lambda record: None)
    stopped = comparison(store, trained, tmp_path / "stopped")
    begun: list[str] = []

    def stop(record: object) -> None:
        if isinstance(record, JobStarted) and record.job.key not in begun:
            begun.append(record.job.key)
            raise Stopped

    for _ in range(len(stopped.extent.jobs()) + 1):
        try:
            run(stopped, stop)
            break
        except Stopped:
            continue
    assert begun == [job.key for job in whole.extent.jobs()]
    assert table(decided(stopped)) == table(decided(whole))
    assert plain(decided(stopped)) == plain(decided(whole))


@pytest.mark.slow
def test_every_method_stands_in_the_table_of_every_share(
    store: Store, trained: RunFolder, tmp_path: Path
) -> None:
    whole = comparison(store, trained, tmp_path / "whole", label_fraction=(1.0,))
    run(whole, lambda record: None)
    found = decided(whole)
    names = {row.name for row in found.decisions[-1].rows}
    networks = {"untrained", "probe", "embedding_trees", "finetuned", "ensemble", "scratch"}
    assert names == networks | {"summary_trees", "blend"}
    assert all(len(line) <= 80 for line in table(found))


def test_what_an_encoder_without_weights_knows_is_not_left_open(
    store: Store, tmp_path: Path
) -> None:
    def told(**given: object) -> str:
        options = {"encoder": "my_module:MyEncoder", "data": str(store.path), **given}
        settings = FinetuneSettings.from_flat(options)
        return " ".join(notes(Comparison(settings, store, ComparisonFolder(tmp_path))))

    assert "embeddings are of an untrained network unless" in told()
    assert "was trained is not known" in told(encoder_checkpoint=str(tmp_path / "w.pt"))


@pytest.mark.slow
def test_every_seed_of_the_table_learns_the_one_label_also_beside_a_run_of_several(
    tmp_path: Path,
) -> None:
    labels = outcomes({f"s{i}": int(i % 5 == 0) for i in range(60)}).table
    table = labels.append_column("stay", pa.array([i % 2 for i in range(60)], pa.int32()))
    source = cohort(60, outcomes=Labels(table, "outcomes.csv"))
    store = Store.open(write(source, tmp_path / "store").path)
    loaded = model_for(store, tasks=False, objective="elbo", max_steps=2, max_epochs=1)
    trained = write_trained(tmp_path / "trained", loaded, str(store.path))
    begun = {"folds": None, "with_trees": False, "label_fraction": (1.0,)}
    several = comparison(store, trained, tmp_path / "several", **begun)
    several = replace(several, main=trained.best_or_last())
    run(several, lambda record: None)
    runs = [read(one.best_or_last()) for one in newest_first(several.folder.runs)]
    assert [content.header.tasks for content in runs] == [("death",)] * 4
    notes = decided(several).notes
    assert "networks of the table learnt death alone; the fine-tuned run itself" in notes[-1]


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("test", "no subject of the test split has the label death"),
        pytest.param(
            "validation",
            "no subject of the validation split has the label death",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "train", "no subject of the train split has the label death", marks=pytest.mark.slow
        ),
    ],
)
def test_splits_without_labels_are_found_before_any_job(
    tmp_path: Path, split: str, said: str
) -> None:
    store = split_store(tmp_path / "store", unlabelled=numbers_of(split))
    refused = comparison_of(store, tmp_path)
    with pytest.raises(InputError, match=said):
        run(refused, lambda record: None)
    assert not refused.folder.path.exists()
    check_rows(comparison_of(store, tmp_path / "dealt", folds=2))


@pytest.mark.slow
def test_classes_that_are_missing_are_named(tmp_path: Path) -> None:
    test = [i for i in numbers_of("test") if i % 5 < 2]
    store = split_store(tmp_path / "store", flipped=test)
    with pytest.raises(InputError, match="no subject of the test split is of class 1 of the label"):
        check_rows(comparison_of(store, tmp_path / "one"))
    ill = [i for i in numbers_of("train") if i % 5 < 2]
    store = split_store(tmp_path / "second", flipped=ill)
    with pytest.raises(InputError, match="training subjects are all of class 0 of the label"):
        check_rows(comparison_of(store, tmp_path / "two"))
