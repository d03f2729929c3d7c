"""A run's folder is its own, and tells its checkpoints apart."""

import os
import stat

import pytest

from setvae_cli.errors import InputError
from setvae_cli.files import temporary_name
from setvae_cli.runs.folder import RunFolder, latest


def test_each_run_gets_the_next_version_and_only_its_owner_reads_it(tmp_path):
    runs = [RunFolder.create(tmp_path / "outputs", "seqsetvae") for _ in range(3)]
    assert [run.path.name for run in runs] == ["version_0", "version_1", "version_2"]
    assert stat.S_IMODE(runs[0].path.stat().st_mode) == 0o700
    assert stat.S_IMODE(runs[0].checkpoints.stat().st_mode) == 0o700
    assert latest(tmp_path / "outputs").path == runs[2].path


def test_a_removed_version_is_not_given_again(tmp_path):
    RunFolder.create(tmp_path, "a")
    newest = RunFolder.create(tmp_path, "a")
    (tmp_path / "a" / "version_0" / "checkpoints").rmdir()
    (tmp_path / "a" / "version_0").rmdir()
    assert RunFolder.create(tmp_path, "a").path.name == "version_2"
    assert newest.path.name == "version_1"


def test_what_a_run_that_was_killed_left_half_written_goes_with_the_next_one(tmp_path):
    killed = RunFolder.create(tmp_path, "a")  # before its first checkpoint: never gone on with
    mine = temporary_name()
    gone = mine.replace(f"{os.getpid()}.", f"{os.getpid()}.1")
    for name in (mine, gone):
        (killed.checkpoints / name).touch()
    RunFolder.create(tmp_path, "a")
    assert [path.name for path in killed.checkpoints.iterdir()] == [mine]


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "outputs").write_text("x")
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        RunFolder.create(tmp_path / "outputs", "a")


def test_the_best_checkpoint_comes_first_and_auc_before_loss(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    for epoch, measure, value in [(1, "auc", 0.7), (2, "auc", 0.81), (3, "loss", 0.1)]:
        path = run.best_path(epoch=epoch, step=epoch, measure=measure, value=value, batch_size=4)
        path.touch()
    run.last.touch()
    assert [best.epoch for best in run.best()] == [2, 1, 3]
    assert run.best_or_last().name == "best_epoch=2_step=2_auc=0.8100_bs=4.ckpt"


def test_the_lower_loss_is_the_better_one(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    for epoch, value in [(1, 2.0), (2, -1.5)]:
        run.best_path(epoch=epoch, step=1, measure="loss", value=value, batch_size=4).touch()
    assert run.best()[0].value == -1.5


def test_without_a_best_checkpoint_the_newest_is_taken(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    with pytest.raises(InputError, match="holds no checkpoint"):
        run.best_or_last()
    for kind, step in (("error", 9), ("interrupted", 4), ("interrupted", 12)):
        path = run.marked_path(kind, step=step, batch_size=4)
        path.touch()
        assert run.best_or_last() == path
    run.last.touch()
    assert run.best_or_last() == run.last


def test_event_files_go_where_log_dir_says(tmp_path):
    run = RunFolder.create(tmp_path / "o", "a", tmp_path / "logs")
    assert run.logs.is_dir()
    assert run.posterior_metrics.parent == tmp_path / "logs"
    assert run.metrics.parent == run.path
