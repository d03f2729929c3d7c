"""`setvae resume` and its kin, as a person meets them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from setvae_cli.cli import app
from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.folder import RunFolder
from setvae_cli.training.boundary import Boundary
from setvae_cli.training.keeper import Keeper

RUN = "outputs/seqsetvae/version_0"
TINY = ["--preset", "tiny", "--max-epochs", "2", "--device", "cpu", "--val-check-interval", "0.5"]
COHORT = ["--source", "simulated", "--subjects", "60"]
SHORT = ["--max-steps", "7"]  # a step or two behind the place where the run was killed


class Killed(BaseException):
    """Ends a run where it is."""


def killed_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let the next run end behind a validation, as if it was killed."""
    original = Keeper.save_validated

    def save(keeper, **named):
        original(keeper, **named)
        if named["step"] >= step:
            raise Killed

    patch.setattr(Keeper, "save_validated", save)
    patch.setattr(Boundary, "on_exception", lambda *_: None)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and a run on it that was killed."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert app.run(["precompute", *COHORT, "--out", "cohort", "--workers", "1", "--quiet"]) == 0
        killed_at(patch, 3)
        assert app.run(["train", "--data", "cohort", *TINY, "--quiet"]) == 1
    return folder


@pytest.fixture
def here_again(here, study: Path, tmp_path: Path):
    """The same command line in a copy of that folder."""
    shutil.copytree(study, tmp_path, dirs_exist_ok=True)
    return here


def lines_of(error: str) -> list[str]:
    return [line for line in error.splitlines() if line]


def test_the_head_of_a_resume_says_from_where_and_what_changes(here_again) -> None:
    done = here_again("resume", RUN, *SHORT)
    assert done.returncode == 0, done.stderr
    lines = lines_of(done.stderr)
    assert re.fullmatch(
        r"checkpoint  last\.ckpt, verified, step \d+, epoch 1, batch \d+ of 11", lines[0]
    ), lines
    assert lines[1] == "changed     max_steps none -> 7              exact continuation: yes"
    assert all(len(line) <= 80 for line in lines if "/" not in line)
    assert "Resume with" not in done.stderr


def test_a_change_that_is_not_exact_says_why(here_again) -> None:
    given = ["--batch-size", "8", "--lr", "5e-4", "--max-steps", "4"]
    done = here_again("resume", RUN, *given)
    assert done.returncode == 0, done.stderr
    assert lines_of(done.stderr)[1:3] == [
        "changed     lr 0.001 -> 0.0005, max_steps none -> 4, batch_size 4 -> 8",
        "            exact continuation: no, batch_size cuts batches anew",
    ]


def test_without_a_name_the_latest_run_goes_on_and_is_named(here_again) -> None:
    done = here_again("resume", *SHORT)
    assert done.returncode == 0, done.stderr
    assert lines_of(done.stderr)[0] == f"No run named: going on with the latest, {RUN}."


@pytest.mark.slow
def test_the_latest_run_is_one_of_the_name_given(here_again) -> None:
    assert here_again("train", "--data", "cohort", *TINY, "--name", "other").returncode == 0
    done = here_again("resume", "--name", "seqsetvae", "--max-steps", "3")
    assert lines_of(done.stderr)[0] == f"No run named: going on with the latest, {RUN}."
    done = here_again("resume", "--resume-from-checkpoint", f"{RUN}/checkpoints/previous.ckpt")
    assert "checkpoint  previous.ckpt, verified" in done.stderr


def test_a_run_that_is_done_has_nothing_to_do(here_again, tmp_path) -> None:
    assert here_again("resume", RUN, *SHORT).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in Path(RUN).rglob("*")}
    for command in (["resume", RUN], ["train", "--resume", "auto"], ["resume", RUN, "--json"]):
        done = here_again(*command)
        assert done.returncode == 0, done.stderr
        if "--json" in command:
            assert done.stdout == '{\n  "complete": true\n}\n'
        else:
            assert re.fullmatch(
                r"Nothing to do: the run is complete at step \d+\.\n", done.stdout
            ), done.stdout
        assert "Next:" not in done.stderr
    assert {path: path.stat().st_mtime_ns for path in Path(RUN).rglob("*")} == before


def test_resume_auto_starts_where_there_is_nothing_and_goes_on_where_there_is(
    here_again, monkeypatch, tmp_path
) -> None:
    given = ["--data", "cohort", *TINY, *SHORT, "--name", "nightly"]
    command = ["train", *given, "--resume", "auto"]
    with monkeypatch.context() as patch:
        killed_at(patch, 1)
        assert here_again(*command).returncode == 1
    done = here_again(*command)
    assert done.returncode == 0, done.stderr
    assert lines_of(done.stderr)[0].startswith("checkpoint  last.ckpt, verified, ")
    assert [path.name for path in Path("outputs/nightly").iterdir()] == ["version_0"]
    assert "othing to do" in here_again(*command).stdout


@pytest.mark.slow
def test_resume_from_checkpoint_is_the_same_and_does_not_go_with_auto(here_again) -> None:
    path = f"{RUN}/checkpoints/previous.ckpt"
    done = here_again("train", "--resume-from-checkpoint", path, "--resume", "auto")
    assert done.returncode == 2
    assert done.stderr == (
        "setvae train: error: --resume-from-checkpoint: is given together with --resume auto; "
        "keep one of them\n"
    )
    done = here_again("train", "--resume_from_checkpoint", path)
    assert done.returncode == 0, done.stderr
    assert "checkpoint  previous.ckpt, verified" in done.stderr


def test_the_old_option_for_a_checkpoint_is_accepted(here_again) -> None:
    path = f"{RUN}/checkpoints/last.ckpt"
    done = here_again("resume", "--checkpoint", path, *SHORT)
    assert done.returncode == 0, done.stderr
    assert "checkpoint  last.ckpt, verified" in done.stderr


@pytest.mark.parametrize(
    "deep", ["elsewhere", pytest.param("outputs/seqsetvae", marks=pytest.mark.slow)]
)
def test_a_run_finds_its_data_from_any_folder_and_leaves_nothing_there(
    here_again, tmp_path, monkeypatch, deep
) -> None:
    (tmp_path / deep).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / deep)
    before = sorted(Path().iterdir())
    settings = (tmp_path / RUN / "settings.yaml").read_bytes()
    done = here_again("resume", os.path.relpath(tmp_path / RUN))
    assert done.returncode == 0, done.stderr
    assert sorted(Path().iterdir()) == before
    assert (tmp_path / RUN / "settings.yaml").read_bytes() == settings


def test_data_that_are_gone_are_asked_for_and_a_new_place_is_kept(
    here_again, tmp_path, monkeypatch
) -> None:
    os.rename("cohort", "moved")
    done = here_again("resume", RUN)
    assert done.returncode == 2
    assert done.stderr == (
        "setvae resume: error: cohort: the data of the run are not there any more; "
        "name them with --data\n"
    )
    monkeypatch.chdir(tmp_path / "moved")
    run = str(tmp_path / RUN)
    assert here_again("resume", run, "--data", "../moved", *SHORT).returncode == 0
    monkeypatch.chdir(tmp_path)
    assert here_again("resume", run, "--max-steps", "8").returncode == 0


def test_raw_input_is_taken_from_the_cache_also_from_elsewhere(here, tmp_path, monkeypatch) -> None:
    rows = [
        f"{subject},{minute},HR,{60 + subject % 7 + minute / 60},{subject % 2}"
        for subject in range(40)
        for minute in range(0, 180, 60)
    ]
    head = "subject_id,time,code,value,death"
    (tmp_path / "events.csv").write_text("\n".join([head, *rows]) + "\n")
    given = ["--data", "events.csv", "--source", "table", "--map", "label:death=death"]
    with monkeypatch.context() as patch:
        killed_at(patch, 1)
        assert here("train", *given, *TINY).returncode == 1
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = here("resume", str(tmp_path / RUN), *SHORT)
    assert done.returncode == 0, done.stderr
    assert list(Path().iterdir()) == []


def test_a_path_to_no_run_is_told_so(here_again, tmp_path) -> None:
    for path, line in {
        "nowhere": "no such run or checkpoint; check the path",
        "cohort": "is no run: it has no settings.yaml and checkpoints; name a run's folder",
        "cohort/manifest.json": "is no checkpoint; .*",
    }.items():
        done = here_again("resume", path)
        assert done.returncode == 2
        assert re.fullmatch(f"setvae resume: error: {path}: {line}\n", done.stderr), done.stderr
    done = here_again("resume", "--output-dir", "cohort")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SETVAE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "setvae_cli.cli.app", *arguments],
        cwd=folder,
        env=clean | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], beginning: str) -> None:
    """Read what a command says until a line begins so."""
    assert process.stderr is not None
    assert any(line.startswith(beginning) for line in process.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["No --data", "machine"])
def test_a_job_that_slurm_warns_is_queued_again_once(tmp_path: Path, phase: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "scontrol").write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/calls"\n')
    (tools / "scontrol").chmod(0o700)
    process = start(
        tmp_path,
        *["train", "--preset", "tiny", "--max-epochs", "900", "--subjects", "3000", "--requeue"],
        SLURM_JOB_ID="4711",
        PATH=f"{tools}:{os.environ['PATH']}",
    )
    wait_for(process, phase)
    process.send_signal(signal.SIGUSR1)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 138, told
    assert (tools / "calls").read_text() == "requeue 4711\n"
    assert "job 4711 is queued again" in told
    assert not list(tmp_path.rglob(".tmp-*"))
    for checkpoint in tmp_path.rglob("*.ckpt"):
        read(checkpoint)


@pytest.mark.slow
def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    long = ["--subjects", "3000", "--gradient-accumulation-steps", "99999"]
    process = start(tmp_path, "train", "--preset", "tiny", *long)
    wait_for(process, "machine")
    time.sleep(2)  # training begins, and its one step of an epoch takes long
    process.send_signal(signal.SIGTERM)
    wait_for(process, "finishing this step ... (again to stop at once)")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGTERM
    assert RunFolder(tmp_path / RUN).all_checkpoints() == ()


@pytest.mark.slow
def test_a_run_is_free_when_its_process_is_killed_though_its_workers_live(tmp_path: Path) -> None:
    given = ["--subjects", "300", "--max-epochs", "900", "--num-workers", "1"]
    process = start(tmp_path, "train", "--preset", "tiny", *given)
    wait_for(process, "machine")
    last = RunFolder(tmp_path / RUN).last
    while not last.exists():
        time.sleep(0.05)
    second = start(tmp_path, "resume", RUN)
    _, told = second.communicate(timeout=100)
    assert second.returncode == 2
    assert told.splitlines()[-1] == (
        f"setvae resume: error: {RUN}: another process is training in this run; "
        "wait for it, or stop it"
    )
    process.send_signal(signal.SIGKILL)
    third = start(tmp_path, "resume", RUN, "--max-steps", "1")
    process.communicate(timeout=100)
    _, told = third.communicate(timeout=100)
    assert third.returncode == 0, told
