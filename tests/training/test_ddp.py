"""Two processes train what one would: they share batches, and one of them speaks and writes."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import torch

from setvae_cli.errors import SettingsError
from setvae_cli.runs.folder import RunFolder
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.merge import merge
from setvae_cli.training.fit import fit
from setvae_cli.training.part import FOLLOWS, Part, settled_part, started_part
from setvae_cli.training.resumption import prepare
from tests.training.resuming import final_of, go_on, ignore, log_of
from tests.training.teams import SMALL, TWO, train

# Dropout is all that depends on the rank.
EXACT = {"precision": "64", "dropout": "0", "head_dropout": "0", "joined_dropout": "0"}


def run_in(folder: Path) -> RunFolder:
    return RunFolder(folder / "outputs/seqsetvae/version_0")


def _alike(record: dict[str, object]) -> dict[str, object]:
    """What does not depend on who lies beside whom in a batch, as exchanged latents do."""
    return {tag: value for tag, value in record.items() if "gap" not in tag and tag != "figures"}


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["joint", "forecast", "joint+forecast"])
def test_two_processes_train_as_one_does_with_the_same_global_batch(
    store, tmp_path, objective
) -> None:
    exact = {**EXACT, "objective": objective}
    given = {**SMALL, **exact, "batch_size": "8", "output_dir": str(tmp_path / "one/outputs")}
    fit(merge(TrainSettings, options=given, environment={}, config=None).settings, store, ignore)
    one, two = tmp_path / "one", tmp_path / "two"
    two.mkdir()
    words = [
        word for name, value in exact.items() for word in (f"--{name}".replace("_", "-"), value)
    ]
    ended = train(store, *words, "--batch-size", "4", *TWO, folder=two)  # of 21, 10, 10 subjects
    assert (ended.code, ended.left) == (0, ()), ended
    assert ended.error.count("run ") == 1, ended.error
    assert "2 processes (ddp)" in ended.error
    assert [path.name for path in (two / "outputs/seqsetvae").iterdir()] == ["version_0"]
    weights = final_of(run_in(one))["state_dict"]
    for name, tensor in final_of(run_in(two))["state_dict"].items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-8, atol=1e-12, msg=name)
    for first, second in zip(log_of(run_in(one)), log_of(run_in(two)), strict=True):
        for tag, value in _alike(first).items():
            same = value if isinstance(value, str) else pytest.approx(value, rel=1e-6)
            assert second[tag] == same, tag
        for tag in ("val_auc", "val_auprc", "val_accuracy"):
            assert first.get(tag) == second.get(tag)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_and_one_device_can_go_on(store, tmp_path) -> None:
    ended = train(store, *TWO, folder=tmp_path, acts=(5, 1, signal.SIGKILL))
    assert (ended.code, ended.output, ended.left) == (1, "", ())
    last = ended.error.splitlines()[-1]
    assert re.fullmatch(r"setvae train: error: process 1 of this run was killed, .*", last), ended
    assert len(re.findall("error:", ended.error)) == 1
    folder = run_in(tmp_path).path
    changes = prepare(folder, {"devices": 1, "batch_size": 4}).changes
    assert "devices cuts batches anew" in changes.inexact
    assert go_on(folder, store, devices=1, batch_size=4) is not None


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}


def test_a_process_knows_its_part_from_who_started_it() -> None:
    assert started_part({}, 7, 1) == Part()
    assert started_part({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, 7, 1) == Part()
    ours = {FOLLOWS: "7", "LOCAL_RANK": "2", "WORLD_SIZE": "3"}
    assert started_part(ours, 7, 1) == Part(2, 3)
    assert started_part(ours, 8, 1) == Part()
    assert started_part(TORCHRUN, 7, 1) == Part(1, 2, 1, "torchrun")
    assert started_part(SRUN, 7, 2).local_world == 2


def test_devices_that_nobody_starts_are_refused() -> None:
    assert settled_part(Part(), 3, 1) == Part(0, 3)
    assert settled_part(Part(1, 4, 2, "srun"), 2, 2).launched
    with pytest.raises(SettingsError, match=r"^--num-nodes: 2 machines need torchrun or srun"):
        settled_part(Part(), 2, 2)
    with pytest.raises(SettingsError, match=r"^--devices: 3, and torchrun started 2; let both"):
        settled_part(Part(0, 2, 1, "torchrun"), 3, 1)
