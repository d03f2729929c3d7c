"""`setvae benchmark-loader` from the outside."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.benchmark.made_up import ORIGINALS, record
from tests.training.stores import write_store

from setvae_cli.benchmark.loader_advice import recommend
from setvae_cli.cli.benchmark_loader import table
from setvae_cli.settings.command import BenchmarkLoaderSettings

COMMAND = "benchmark-loader"
QUICK = ["--num-batches", "2", "--repeats", "1", "--preset", "tiny", "--device", "cpu"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_store(tmp_path_factory.mktemp("store")).path)


def test_help_fits_and_leaves_out_what_only_training_needs(here) -> None:
    text = here(COMMAND, "--help", COLUMNS="200").stdout
    assert max(map(len, text.splitlines())) <= 80
    named = set(re.findall(r"--[a-z-]+", text))
    for field in BenchmarkLoaderSettings.fields().values():
        assert field.option == "--config" or (field.option in named) is not field.hidden
    assert {"--workers", "--test-workers", "--preset"} <= named
    assert not {"--lr", "--roots", "--cache-data"} & named


def test_json_is_a_list_of_records_alone_on_stdout(here, store: str) -> None:
    done = here(COMMAND, "--data", store, "--workers", "0,1", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert [one["workers"] for one in records] == [0, 1]
    named = {"workers", "cache", "batch_size", "elements_per_s", "mb_per_s", "p50_ms", "p95_ms"}
    named |= {"first_batch_ms", "uss_mb", "device", "batches", "best", "reason", "advice"}
    for one in records:
        assert set(one) >= named | ORIGINALS
        assert (one["cache"], one["batch_size"], one["device"]) == ("warm", 4, "cpu")
    assert [bool(one["reason"]) for one in records] == [one["best"] for one in records]
    assert sum(one["best"] for one in records) == 1
    assert [line.split()[0] for line in done.stderr.splitlines()[:3]] == [
        *("data", "machine", "passes")
    ]


def test_quiet_prints_the_table_only(here, store: str) -> None:
    done = here(COMMAND, "--data", store, "--workers", "0", *QUICK, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    head, row, reason, *_ = done.stdout.splitlines()
    assert head.split() == [
        *("workers", "cache", "first", "batch", "p50", "p95"),
        "elements/s",
        "memory",
    ]
    assert row.startswith("   0")
    assert row.endswith("<- best")
    assert reason == "0 workers: nothing else was tried."


def test_without_data_the_built_in_cohort_is_measured(here, tmp_path: Path) -> None:
    done = here(COMMAND, "--subjects", "60", "--workers", "0", *QUICK, "--with-model")
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[0] == "No --data: measuring on the built-in simulated cohort (60 subjects)."
    assert [line.split()[0] for line in said[2:6]] == ["data", "machine", "passes", "model"]
    assert said[-1] == "Next:  setvae train --num-workers 0 --batch-size 4"
    assert re.search(r"^A training step takes .* bottleneck", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_the_next_command_can_be_pasted_wherever_the_store_lies(here, tmp_path: Path) -> None:
    given = write_store(tmp_path).path.rename(tmp_path / "my data")
    done = here(COMMAND, "--data", str(given), "--workers", "0", *QUICK)
    assert f"Next:  setvae train --data '{given}' --num-workers 0 --batch-size 4" in done.stderr


def test_a_batch_size_beside_a_budget_is_said_to_have_no_effect(here, store: str) -> None:
    budget = ["--max-elements-per-batch", "40", "--batch-size", "8", "--workers", "0"]
    done = here(COMMAND, "--data", store, *budget, *QUICK)
    assert done.returncode == 0
    assert "warning: --batch-size has no effect: --max-elements-per-batch fills" in done.stderr


def test_the_originals_spellings_are_accepted_with_one_warning_each(here) -> None:
    old = ["--num_batches", "7", "--test_workers", "0,2", "--cache_data", "--batch_size=8"]
    done = here(COMMAND, *old, "--print-config")
    for line in ("num_batches: 7 ", "num_workers: [0, 2] ", "batch_size: [8] ", "cache: warm"):
        assert f"\n{line}" in done.stdout
    start = f"setvae {COMMAND}: warning: --"
    assert sorted(done.stderr.splitlines()) == [
        f"{start}batch_size is an old spelling; write --batch-size",
        f"{start}cache_data is an old spelling; write --cache warm",
        f"{start}num_batches is an old spelling; write --num-batches",
        f"{start}test_workers is an old spelling; write --num-workers",
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--roots", "a,b"], r"--roots: names CT windows, which this .* yet; name a store or .*"),
        (
            ["--window_type", "lung"],
            r"--window-type: chooses CT windows, which this .*; leave it .*",
        ),
        (
            ["--precompute_sparse"],
            r"--precompute-sparse: prepares CT windows, which this .* yet; .*",
        ),
        (["--force"], r"--force: prepares CT windows again, which this version .* yet; events .*"),
        (["--workers", "-1"], r"--num-workers: must be at least 0, got -1"),
        (["--workers", "two"], r"--num-workers: must be a whole number, got two"),
        (["--workers", ","], r"--num-workers: must name at least one number from 0 on"),
        (["--workers", "0,99999"], r"--num-workers: 99999 workers are more than .*; use fewer.*"),
        (["--batch-size", "4,0"], r"--batch-size: must be at least 1, got 0"),
        (["--num-batches", "0"], r"--num-batches: must be at least 1, got 0"),
        (["--repeats", "0"], r"--repeats: must be at least 1, got 0"),
        (["--cache", "hot"], r"--cache: must be one of warm, cold, both, got hot"),
        (["--cache", "cold", "--cache-data"], r"--cache, --cache-data: .*; give one"),
        (["--data", "nowhere"], r"nowhere: no such file or folder; .*"),
        (["--wokers", "1"], r"unknown option --wokers; did you mean .*--workers\?"),
    ],
)
def test_a_wrong_request_ends_with_one_sentence_and_exit_code_2(here, arguments, line) -> None:
    done = here(COMMAND, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"setvae {COMMAND}: error: {line}\n", done.stderr), done.stderr


def test_a_damaged_shard_ends_with_one_sentence_and_exit_code_1(here, tmp_path: Path) -> None:
    path = write_store(tmp_path).path
    (shard,) = (path / "shards").iterdir()
    shard.write_bytes(b"\0" * shard.stat().st_size)
    done = here(COMMAND, "--data", str(path), "--workers", "0", *QUICK, "--quiet")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "the shard is damaged or missing; prepare the store again" in done.stderr


def test_a_configuration_of_training_can_be_given(here, tmp_path: Path) -> None:
    recipe = "batch_size: 8\nnum_workers: 2\nlr: 0.001\nmax_sequence_length: 50\n"
    tmp_path.joinpath("run.yaml").write_text(recipe)
    printed = here(COMMAND, "--config", "run.yaml", "--workers", "0,1", "--print-config").stdout
    for line in ("batch_size: [8] ", "num_workers: [0, 1] ", "max_sequence_length: 50 "):
        assert f"\n{line}" in printed


def test_the_setting_of_another_commands_workers_is_left_alone(here) -> None:
    printed = here(COMMAND, "--print-config", SETVAE_WORKERS="2").stdout
    assert "num_workers: null\n" in printed


def test_the_table_fits_and_marks_the_best_of_each_batch_size() -> None:
    slow = {"first_batch_ms": 1234.5, "p50_ms": 120.4, "p95_ms": 123.4, "uss_mb": 123.4}
    made = [record(0, 8_100_000), record(2, 3_900_000, **slow)]
    made += [replace(one, batch_size=32) for one in made]
    lines = table(recommend(made))
    assert max(map(len, lines)) <= 80
    assert lines == [
        "workers  cache  batch     first     p50     p95  elements/s   memory",
        "   0      warm      4     10 ms  0.1 ms  0.1 ms   8 100 000    +0 MB  <- best",
        "   2      warm      4  1 234 ms  120 ms  123 ms   3 900 000  +123 MB",
        "   0      warm     32     10 ms  0.1 ms  0.1 ms   8 100 000    +0 MB  <- best",
        "   2      warm     32  1 234 ms  120 ms  123 ms   3 900 000  +123 MB",
        "Batch 4: 0 workers: the fastest.",
        "Batch 32: 0 workers: the fastest.",
    ]


def test_the_journeys_screen_names_the_bottleneck_under_the_table() -> None:
    made = [record(0, 8.1e6, step_ms=700.0), record(2, 3.9e6, step_ms=700.0)]
    line = "A training step takes 700 ms: the model is the bottleneck, not the loader."
    assert table(recommend(made))[-1] == line
