"""Wrong options, variables and configuration files end in one line that names the place.

Numbers are those of the project's list of bad inputs.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

MANY = "100000"
OPTIONS: dict[str, tuple[list[str], str]] = {
    "62 option": (
        ["--batch-sise", "3"],
        r"unknown option --batch-sise; did you mean --batch-size.*",
    ),
    "63 option": (["--batch-size", "many"], r"--batch-size: must be a whole number, got many"),
    "64 zero": (["--lr", "0"], r"--lr: must be above 0, got 0"),
    "64 negative": (["--lr", "-1"], r"--lr: must be above 0, got -1"),
    "64 NaN": (["--lr", "nan"], r"--lr: must be a finite number, got nan"),
    "65 zero": (["--batch-size", "0"], r"--batch-size: must be at least 1, got 0"),
    "66 latent": (["--latent-dim", "0"], r"--latent-dim: must be at least 1, got 0"),
    "66 heads": (
        ["--dim", "48", "--heads", "5"],
        r"--dim, --heads: heads 5 does not divide dim 48",
    ),
    "67 both": (
        ["--resume", "auto", "--resume-from-checkpoint", "x.ckpt"],
        r"--resume-from-checkpoint: is given together with --resume auto; keep one of them",
    ),
    "72 16-true": (["--precision", "16-true"], r"--precision: must be one of .*, got 16-true"),
    "72 unknown": (["--precision", "8"], r"--precision: must be one of .*, got 8"),
    "73 negative": (["--num-workers", "-1"], r"--num-workers: must be at least 0, got -1"),
    "73 many": (
        ["--num-workers", MANY, "--quiet"],
        r"--num-workers: 100000 workers are more than .*; use .*",
    ),
}
FILES: dict[str, tuple[str | bytes, str]] = {
    "62 key": ("batch_sise: 3\n", r"unknown key 'batch_sise'; did you mean batch_size\?"),
    "62 other command's": ("workers: 3\n", r"'workers' is a setting of setvae precompute, .*; .*"),
    "62 section": ("model:\n  dim: 3\n", r"unknown key 'model'; remove it, or see --help .*"),
    "63 word": ("batch_size: many\n", r"batch_size: must be a whole number, got many"),
    "63 list": ("batch_size: [1, 2]\n", r"batch_size: must be a whole number, got 1,2"),
    "63 flag": ("batch_size: yes\n", r"batch_size: must be a whole number, got true"),
    "63 nothing": ("lr:\n", r"lr: must be a number, got none"),
    "63 no mapping": ("- a\n- b\n", r"is not a list of settings; write one `key: value` a line"),
    "64 NaN": ("lr: .nan\n", r"lr: must be a finite number, got nan"),
    "66 heads": ("dim: 50\nheads: 4\n", r"dim, run\.yaml: heads: heads 4 does not divide dim 50"),
    "69 latin": ("name: é\n".encode("latin-1"), r"is not UTF-8 \(byte 6\); save it as UTF-8"),
    "69 mark": (b"\xef\xbb\xbflr: 1\n", r"begins with a byte order mark; save it as UTF-8 .*"),
    "70 tag": (
        "lr: !!python/object/apply:os.system ['true']\n",
        r"holds a tag or a key that is no plain value \(line 1, column 5\); write one .*",
    ),
    "70 anchors": ("a: &a [1]\nb: *a\n", r"it uses an anchor and alias; write the value out"),
    "70 depth": ("lr: " + "[" * 999, r"it is nested too deeply; write one `key: value` a line"),
    "70 size": ("#" * 1_000_001, r"is larger than 1 MB, which no configuration file is; name .*"),
    "70 open": ("lr: [1\n", r"is not valid YAML: .* \(line 2, column 1\); correct that line"),
    "70 NUL": ("lr: \0\n", r"is not valid YAML; save it as plain text"),
    "70 twice": ("lr: 1\nlr: 2\n", r"key 'lr' stands there twice; keep one"),
}
VARIABLES: dict[str, tuple[str, str, str]] = {
    "68 word": ("SETVAE_BATCH_SIZE", "many", r": must be a whole number, got many"),
    "68 nothing": ("SETVAE_LR", "", r": must be a number, got nothing"),
    "68 name": ("SETVAE_BATCH_SISE", "3", r": unknown environment variable; did you mean .*\?"),
}


def check(done, line: str, folder: Path, command: str = "train") -> None:
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert re.fullmatch(f"setvae {command}: error: {line}\n", done.stderr), done.stderr
    assert [path.name for path in folder.iterdir() if path.name != "run.yaml"] == []


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_option_is_named(here, tmp_path: Path, name: str) -> None:
    arguments, line = OPTIONS[name]
    check(here("train", *arguments), line, tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_configuration_file_is_named(here, tmp_path: Path, name: str) -> None:
    content, line = FILES[name]
    raw = content if isinstance(content, bytes) else content.encode()
    tmp_path.joinpath("run.yaml").write_bytes(raw)
    check(here("train", "--config", "run.yaml"), rf"run\.yaml: {line}", tmp_path)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_wrong_variable_is_named(here, tmp_path: Path, name: str) -> None:
    variable, value, line = VARIABLES[name]
    check(here("train", **{variable: value}), variable + line, tmp_path)


@pytest.mark.parametrize("workers", ["-1", "0", MANY])
def test_73_workers_of_precompute_are_bounded(here, tmp_path: Path, workers: str) -> None:
    done = here("precompute", "data", "--out", "store", "--workers", workers)
    check(done, r"--workers: .*", tmp_path, "precompute")


@pytest.mark.slow
def test_71_a_gpu_that_is_not_there_is_said_before_data_is_prepared(setvae, tmp_path: Path) -> None:
    tmp_path.joinpath("data.csv").write_text("not even a table")
    done = setvae("train", "--data", "data.csv", "--device", "cuda", CUDA_VISIBLE_DEVICES="")
    check_lines = [line for line in done.stderr.splitlines() if "error" in line]
    expected = "setvae train: error: --device cuda: there is no GPU here; leave it at auto"
    assert (done.returncode, check_lines) == (2, [expected]), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_labels_without_data_are_not_silently_left_out(here, tmp_path: Path) -> None:
    done = here("train", "--labels", "oc.csv", "--quiet")
    check(done, r"--labels: is given without data; name the data too", tmp_path)


@pytest.mark.parametrize("option", ["--output-dir", "--log-dir"])
def test_a_file_where_a_folder_is_due_leaves_no_run(here, tmp_path: Path, option: str) -> None:
    tmp_path.joinpath("file").write_text("x")
    done = here("train", "--subjects", "40", "--preset", "tiny", option, "file/runs", "--quiet")
    line = r"setvae train: error: file/runs: a file stands where .*; name another folder\n"
    assert done.returncode == 2
    assert re.fullmatch(line, done.stderr), done.stderr
    assert not list(tmp_path.glob("outputs/seqsetvae/*"))
