"""What happens to a run while it computes: numbers 94 to 97, and numbers that cannot lie."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.cli.bad_inputs import CANARY, events, table, train

from setvae_cli.runs import metrics_log
from setvae_cli.runs.checkpoint import is_intact

RUN = Path("outputs/seqsetvae/version_0")
LONG = ["--preset", "tiny", "--device", "cpu", "--max-epochs", "500", "--patience", "0"]
SPLIT = ["train"] * 80 + ["validation"] * 24 + ["test"] * 24


@pytest.mark.slow
@pytest.mark.faults
def test_95_a_killed_loader_process_ends_the_run_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "setvae_cli.cli.app", "train", "--quiet", "--subjects", "60"]
    process = subprocess.Popen(
        [*command, *LONG, "--num-workers", "1"],
        cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        workers = _loader_processes(process.pid, tmp_path / RUN / "checkpoints/last.ckpt")
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    line = r"setvae train: error: a loader worker died, often .*; use fewer --num-workers, or 0"
    told = [one for one in errors.splitlines() if "error:" in one]
    assert (process.returncode, out, len(told)) == (1, "", 1), errors
    assert re.fullmatch(line, told[0]), errors
    assert "Traceback" not in errors
    assert is_intact(tmp_path / RUN / "checkpoints/last.ckpt")
    assert not list(tmp_path.rglob(".tmp-*"))


def _loader_processes(parent: int, saved: Path) -> list[psutil.Process]:
    """The processes that a run gathers batches in, once it has saved a checkpoint."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        own = psutil.Process(parent).cmdline()
        if saved.exists():
            found = [one for one in psutil.Process(parent).children() if one.cmdline() == own]
            if found:
                return found
        time.sleep(0.05)
    raise AssertionError("the run had no loader process")


@pytest.mark.slow
def test_97_a_loss_that_is_not_finite_stops_the_run_and_names_rows_not_ids(
    here, tmp_path: Path
) -> None:
    table(events())(tmp_path)
    data = ["--data", "events.parquet", "--map", "label:death=death"]
    done = here("train", *data, "--preset", "tiny", "--device", "cpu", "--lr", "1e30", "--quiet")
    assert (done.returncode, done.stdout) == (1, "")
    told = done.stderr.splitlines()[-1]
    assert re.match(
        r"setvae train: error: the \w+ is not finite at step \d+ \(rows [\d, ]+\)", told
    )
    assert "Traceback" not in done.stderr
    assert not CANARY.search(done.stderr)
    for record in metrics_log.read(tmp_path / RUN / "metrics.jsonl").records:
        json.dumps(record, allow_nan=False)


def result_of(here: Any, folder: Path, death: list[Any]) -> tuple[dict[str, Any], str]:
    """The closing table of a short training as values, and as text."""
    table(events(split=SPLIT, death=death))(folder)
    arguments = train("events.parquet", "--map", "label:death=death")
    as_json, as_text = here(*arguments, "--json"), here(*arguments)
    assert (as_json.returncode, as_text.returncode) == (0, 0), as_json.stderr
    return json.loads(as_json.stdout), as_text.stdout


ABSENT = {
    "one class": (0, "only class 0 is present"),
    "no label": (None, "no label"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ABSENT)
def test_a_metric_that_cannot_be_computed_is_absent_with_a_reason(
    here, tmp_path: Path, name: str
) -> None:
    label, reason = ABSENT[name]
    death = [label if split == "test" else row // 4 % 2 for row, split in enumerate(SPLIT)]
    result, text = result_of(here, tmp_path, death)
    areas = {one["name"]: one for one in result["metrics"] if one["name"] in ("auroc", "auprc")}
    assert set(areas) == {"auroc", "auprc"}
    for one in areas.values():
        assert one["value"] is None
        assert reason in one["reason"]
    assert re.search(rf"^test AUROC +n/a \(.*{reason}.*\)", text, re.MULTILINE), text
    assert "NaN" not in json.dumps(result)
    records = metrics_log.read(tmp_path / RUN / "metrics.jsonl").records
    assert not [tag for record in records for tag in record if tag.startswith("test_au")]
    assert [record for record in records if "test_loss" in record]


@pytest.mark.slow
def test_a_validation_without_a_measure_says_so_and_is_not_logged(here, tmp_path: Path) -> None:
    death = [0 if split == "validation" else row // 4 % 2 for row, split in enumerate(SPLIT)]
    table(events(split=SPLIT, death=death))(tmp_path)
    done = here(*train("events.parquet", "--map", "label:death=death"), "--verbose")
    assert done.returncode == 0, done.stderr
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("validation, ")]
    assert " auc n/a" in line
    records = metrics_log.read(tmp_path / RUN / "metrics.jsonl").records
    (validated,) = [record for record in records if "val_loss" in record]
    assert "val_auc" not in validated
    assert "val_auprc" not in validated
    assert next((tmp_path / RUN / "checkpoints").glob("best_*")).name.split("_")[3][:4] == "loss"


@pytest.mark.slow
def test_a_cut_tail_of_the_metrics_is_mended_by_a_resume(here, tmp_path: Path) -> None:
    table(events())(tmp_path)
    assert here(*train("events.parquet", "--map", "label:death=death")).returncode == 0
    log = tmp_path / RUN / "metrics.jsonl"
    whole = metrics_log.read(log)
    with log.open("ab") as file:
        file.write(b'{"step":99,"val_loss":0.1,"crc')
    done = here("resume", str(RUN), "--max-steps", "3", "--max-epochs", "3")
    assert done.returncode == 0, done.stderr
    mended = metrics_log.read(log)
    assert mended.lost_bytes == 0
    steps = [record["step"] for record in mended.records]
    assert steps == sorted(steps)
    assert len(mended.records) > len(whole.records)
    assert not [record for record in mended.records if record["step"] == 99]
