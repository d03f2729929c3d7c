"""Places that cannot be written, leftovers of launchers, readers that went away: numbers 74 to 100.

Those that need a full disk, small shared memory or another process stand in tests/faults.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.bad_inputs import ONE_STEP, check_refusal, events, left_behind, precompute, table

from setvae_cli.cli.leftovers import LAUNCHER, forget_launcher

COMMAND = [sys.executable, "-m", "setvae_cli.cli.app"]
COHORT = ["--source", "simulated", "--subjects", "40"]
EXISTS = r"{}: exists already and is never overwritten; name another folder"


def make_file(path: Path) -> None:
    path.write_text("mine")


def make_folder(path: Path) -> None:
    path.mkdir()
    path.joinpath("mine").write_text("mine")


def make_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_file, make_folder, make_link])
def test_74_what_stands_at_the_place_of_a_store_is_never_overwritten(
    here, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "taken")
    before = {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")}
    done = here("precompute", *COHORT, "--out", "taken", "--workers", "1")
    check_refusal(done, "precompute", EXISTS.format("taken"), tmp_path)
    assert {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")} == before


def test_76_a_file_where_the_folder_of_a_store_is_due_is_named(here, tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("mine")
    done = here("precompute", *COHORT, "--out", "file/store", "--workers", "1")
    line = r"file: a file stands where a folder is needed; name another folder"
    check_refusal(done, "precompute", line, tmp_path)
    assert tmp_path.joinpath("file").read_text() == "mine"


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that not even root can write."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("needs the right to mount a read-only disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["precompute", *COHORT, "--out", "disk/store", "--workers", "1"], "disk"),
        (["precompute", *COHORT, "--out", "disk/a/store", "--workers", "1"], "disk/a"),
        (
            ["train", "--quiet", "--subjects", "40", *ONE_STEP, "--output-dir", "disk/runs"],
            "disk/runs",
        ),
        (
            ["train", "--quiet", "--subjects", "40", *ONE_STEP, "--log-dir", "disk/logs"],
            "disk/logs",
        ),
    ],
)
def test_75_a_disk_that_cannot_be_written_is_named(
    here, tmp_path: Path, read_only: Path, arguments: list[str], place: str
) -> None:
    done = here(*arguments)
    line = (
        rf"{place}(/\.cache)?: (nothing can be written there|the folder cannot be created "
        r"\(read-only file system\)); name .*"
    )
    check_refusal(done, arguments[0], line, tmp_path)


@pytest.mark.parametrize("names", [LAUNCHER, ("RANK",), ("MASTER_ADDR", "WORLD_SIZE")])
def test_77_what_a_launcher_left_is_taken_out_and_said_in_one_line(names: tuple[str, ...]) -> None:
    environment = dict.fromkeys(names, "3") | {"HOME": "/home/me"}
    said = forget_launcher(environment)
    assert environment == {"HOME": "/home/me"}
    assert said is not None
    assert all(name in said for name in names)
    assert said.endswith("set and ignored: no launcher started this process")
    assert forget_launcher(environment) is None


@pytest.mark.slow
def test_77_leftovers_of_a_launcher_change_nothing(setvae, tmp_path: Path) -> None:
    left = {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "10.0.0.1"}
    quiet = ["train", "--subjects", "40", *ONE_STEP, "--json"]
    alone = setvae(*quiet, "--output-dir", "a")
    amid = setvae(*quiet, "--output-dir", "b", **left)
    (said,) = [line for line in amid.stderr.splitlines() if "WORLD_SIZE" in line]
    assert said.startswith("setvae train: warning: RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR are ")
    assert (alone.returncode, amid.returncode) == (0, 0), amid.stderr
    assert _measured(amid.stdout) == _measured(alone.stdout)


def _measured(result: str) -> str:
    """A result without its place and its time."""
    return re.sub(r'"(run|best|seconds)": .*', "", result)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("reader", ["head -c 0", "true"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["precompute", *COHORT, "--out", "store", "--workers", "1", "--json"],
        ["precompute", *COHORT, "--out", "store", "--workers", "2"],
        ["train", "--subjects", "40", *ONE_STEP, "--json"],
        ["train", "--print-config"],
        ["--help"],
    ],
    ids=["store", "store of workers", "training", "settings", "help"],
)
def test_99_a_reader_that_is_gone_spoils_nothing(
    tmp_path: Path, arguments: list[str], reader: str
) -> None:
    pipeline = f'set -o pipefail; "$@" | {reader}'
    done = subprocess.run(
        ["bash", "-c", pipeline, "bash", *COMMAND, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert not list(tmp_path.rglob(".tmp-*"))
    if arguments[0] == "precompute":
        verified = subprocess.run([*COMMAND, "precompute", "store", "--verify"], cwd=tmp_path)
        assert verified.returncode == 0
    if "--json" in arguments and arguments[0] == "train":
        assert list(tmp_path.glob("outputs/seqsetvae/version_0/checkpoints/last.ckpt"))


def test_99_stderr_that_is_gone_is_no_error_of_ours(tmp_path: Path) -> None:
    pipeline = '"$@" 2> >(true); echo code $?'
    done = subprocess.run(
        ["bash", "-c", pipeline, "bash", *COMMAND, "train", "--lr", "0"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert re.fullmatch(r"code [12]\n", done.stdout), done.stdout


@pytest.mark.slow
@pytest.mark.faults
def test_94_memory_that_runs_out_is_said_in_one_line(tmp_path: Path) -> None:
    rows = 12_000_000
    values = pa.array(range(rows), pa.float64())
    columns = {"subject_id": pa.array(range(rows), pa.int64()), "minute": values, "value": values}
    columns["variable"] = pa.DictionaryArray.from_arrays(
        pa.array([0] * rows, pa.int8()), pa.array(["pulse"])
    )
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    most = 1_200_000_000  # bytes; importing takes about half of it
    done = subprocess.run(
        [*COMMAND, *precompute("events.parquet")],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )  # fmt: skip
    check_refusal(done, "precompute", r"memory ran out; use .*", tmp_path, code=1)


@pytest.mark.slow
def test_100_a_clock_that_runs_backwards_changes_nothing(
    here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    now = [2e9]

    def backwards() -> float:
        now[0] -= 3600
        return now[0]

    table(events())(tmp_path)
    data = ["train", "--data", "events.parquet", "--map", "label:death=death", *ONE_STEP, "--json"]
    plain = here(*data, "--output-dir", "a")
    monkeypatch.setattr(time, "time", backwards)
    monkeypatch.setattr(time, "time_ns", lambda: int(backwards() * 1e9))
    amiss = here(*data, "--output-dir", "b")
    assert (plain.returncode, amiss.returncode) == (0, 0), amiss.stderr
    assert _measured(amiss.stdout) == _measured(plain.stdout)
    assert left_behind(tmp_path / "b") == ["seqsetvae/version_0"]
