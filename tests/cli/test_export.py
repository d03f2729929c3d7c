"""`setvae export` from the outside: what it takes, what it says, what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.checkpoints import write_run

from setvae_cli.runs.export import read_exported
from setvae_cli.runs.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "outputs")


def test_without_a_name_the_best_checkpoint_of_the_latest_run_is_taken(
    here, run: RunFolder, tmp_path: Path
) -> None:
    done = here("export")
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[0] == "run         outputs/seqsetvae/version_0 (the latest)"
    assert said[1] == "checkpoint  best_epoch=1_step=20_auc=0.8000_bs=4.ckpt"
    assert "can give away records" in done.stderr
    assert said[-1] == "Next:  setvae doctor model.safetensors"
    assert done.stdout.splitlines()[:2] == ["Exported", "file        model.safetensors"]
    assert "left out    optimizer state" in done.stdout
    assert max(map(len, (done.stdout + done.stderr).splitlines())) <= 80
    assert read_exported(tmp_path / "model.safetensors").header.tasks == ("death", "ward")


@pytest.mark.parametrize("option", [[], ["--checkpoint"]])
def test_a_checkpoint_or_a_run_can_be_named(here, run: RunFolder, option: list[str]) -> None:
    last = here("export", *option, "outputs/seqsetvae/version_0/checkpoints/last.ckpt")
    assert (last.returncode, last.stderr.count("the latest")) == (0, 0)
    best = here("export", *option, "outputs/seqsetvae/version_0", "--out", "b.safetensors")
    assert "checkpoint  best_epoch=1" in best.stderr


def test_json_is_the_result_alone(here, run: RunFolder, tmp_path: Path) -> None:
    found = json.loads(here("export", "--json").stdout)
    assert found["file"] == "model.safetensors"
    assert found["bytes"] == (tmp_path / "model.safetensors").stat().st_size
    assert found["parameters"] > 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--out", "outputs"], r"outputs: exists already and is never overwritten; .*"),
        (["nowhere.ckpt"], r"nowhere\.ckpt: no such file .*"),
        (["--output-dir", "elsewhere"], r"elsewhere: holds no run; name one, .*"),
        (["outputs"], r"outputs: is no run: it has no folder of checkpoints; .*"),
        (["a.ckpt", "--checkpoint", "b.ckpt"], r"--checkpoint: is given beside RUN_OR_CKPT; .*"),
        (["notes.txt"], r"notes\.txt: is no checkpoint; .*"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    here, run: RunFolder, tmp_path: Path, arguments: list[str], line: str
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    done = here("export", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"setvae export: error: {line}\n", done.stderr), done.stderr
    assert not (tmp_path / "model.safetensors").exists()


def test_an_existing_file_stays_as_it_is(here, run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    done = here("export")
    assert done.returncode == 2
    assert (tmp_path / "model.safetensors").read_text() == "mine"


@pytest.mark.slow
def test_a_trained_run_is_exported_and_found_whole(here) -> None:
    small = ["--preset", "tiny", "--max-steps", "4", "--max-epochs", "1", "--subjects", "60"]
    assert here("train", *small, "--quiet").returncode == 0
    assert here("export", "--quiet").returncode == 0
    for path in ("model.safetensors", "outputs/seqsetvae/version_0"):
        done = here("doctor", path)
        assert done.returncode == 0, done.stdout
