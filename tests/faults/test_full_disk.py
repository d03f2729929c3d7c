"""A full disk, a quota of zero or a read-only mount costs the write and no file that was there."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

from setvae_cli.cli import app
from setvae_cli.errors import RunError
from setvae_cli.runs import checkpoint, metrics_log
from setvae_cli.runs.event_file import EventFile
from setvae_cli.store.reader import verify
from tests.faults.artefacts import payload
from tests.faults.children import run_child
from tests.tiny import cohort, write

SPACE = 600_000  # bytes: room for what is there before, and not for what comes
FLOATS = 20_000
CAUSE = r"cannot be written: (no space left on device|file too large)"
ONE_STEP = ["--preset", "tiny", "--max-steps", "1", "--device", "cpu", "--quiet"]


def _precompute(out: str) -> list[str]:
    subjects = ["--source", "simulated", "--subjects", "3000"]
    return ["precompute", *subjects, "--out", out, "--workers", "1", "--quiet"]


@pytest.fixture(params=["full tmpfs", "file limit"])
def cramped(request, tmp_path, mount) -> tuple[Path, dict[int, int]]:
    """A folder in which little can be written, and the limits of the child that tries."""
    if request.param == "full tmpfs":
        return mount(f"size={SPACE}"), {}
    place = tmp_path / "disk"
    place.mkdir()
    return place, {resource.RLIMIT_FSIZE: SPACE // 2}


def _checkpoint(folder: Path) -> Callable[[], None]:
    checkpoint.save(folder / "last.ckpt", payload(1, floats=FLOATS))
    return lambda: checkpoint.save(folder / "last.ckpt", payload(2, floats=10 * FLOATS))


def _log(folder: Path) -> Callable[[], None]:
    log = metrics_log.MetricsLog(folder / "metrics.jsonl")
    log.write({"step": 1})

    def fill() -> None:
        for step in range(2, 10_000):
            log.write({"step": step, "note": "x" * 999})

    return fill


def _events(folder: Path) -> Callable[[], None]:
    events = EventFile(folder)

    def fill() -> None:
        for step in range(10_000):
            events.write(step, {f"scalar {number}": 1.0 for number in range(50)})

    return fill


WRITES = {"checkpoint": _checkpoint, "metrics.jsonl": _log, "event file": _events}


@pytest.mark.parametrize("name", WRITES)
def test_a_full_disk_is_one_line_and_the_last_good_file_stays(
    tmp_path, cramped, report, name
) -> None:
    folder, limits = cramped
    go_on = WRITES[name](folder)

    def fails() -> int:
        try:
            go_on()
        except RunError as error:
            assert "\n" not in str(error)
            assert re.search(CAUSE, str(error)), str(error)
            return error.exit_code
        return 0

    ended = run_child(fails, tmp_path / "stderr", limits=limits)
    assert (ended.code, ended.error) == (1, "")
    _check_what_stays(folder, name)
    report(f"{_kind(limits)}, {name}", injected=1, survived=1)


def _check_what_stays(folder: Path, name: str) -> None:
    (path,) = folder.iterdir()
    if name == "checkpoint":
        assert checkpoint.read(path).step == 1
    elif name == "metrics.jsonl":
        contents = metrics_log.read(path)
        assert contents.lost_bytes == 0
        assert [record["step"] for record in contents.records] == list(
            range(1, len(contents.records) + 1)
        )
        assert len(contents.records) > 100
    else:
        records = list(RawEventFileLoader(str(path)).Load())
        assert sum(len(record) + 16 for record in records) == path.stat().st_size
        assert len(records) > 100


def test_preparation_on_a_full_disk_leaves_nothing_and_other_stores_whole(
    tmp_path, cramped, report
) -> None:
    folder, limits = cramped
    write(cohort(8), folder / "other")
    ended = run_child(
        lambda: app.run(_precompute(str(folder / "store"))), tmp_path / "stderr", limits=limits
    )
    assert ended.code in (1, 2), ended
    assert ended.error.startswith("setvae precompute: error: ")
    assert ended.error.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["other"]
    verify(folder / "other")
    report(f"{_kind(limits)}, preparation", injected=1, survived=1)


@pytest.mark.parametrize("command", ["precompute", "train"])
def test_a_read_only_mount_is_a_usage_error_of_one_line(tmp_path, mount, report, command) -> None:
    folder = mount("size=1m,ro")
    arguments = _precompute(str(folder / "store"))
    if command == "train":
        arguments = ["train", *ONE_STEP, "--subjects", "60", "--output-dir", str(folder / "runs")]
    ended = run_child(lambda: app.run(arguments), tmp_path / "stderr")
    assert ended.code == 2, ended
    assert ended.error.count("\n") == 1
    assert re.search("read-only file system|nothing can be written there", ended.error)
    report(f"read-only mount, {command}", injected=1, survived=1)


def _kind(limits: dict[int, int]) -> str:
    return "file limit" if limits else "full tmpfs"
