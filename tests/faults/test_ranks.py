"""Two processes that are stopped or killed go on exactly, and none of them is left behind."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from setvae_cli.runs.folder import RunFolder
from tests.training.resuming import assert_same_end
from tests.training.stores import write_store
from tests.training.teams import TWO, run_setvae, train

RUN = "outputs/seqsetvae/version_0"
EVERYONE = -1
# Behind which step, which rank, what, and the exit code. Four epochs are twelve steps.
FAULTS = {
    "TERM to rank 1 in an epoch": (1, 1, signal.SIGTERM, 143),
    "rank 1 killed": (4, 1, signal.SIGKILL, 1),
    "Ctrl-C to all": (6, EVERYONE, signal.SIGINT, 130),
    "TERM to rank 0": (8, 0, signal.SIGTERM, 143),
    "rank 0 killed": (10, 0, signal.SIGKILL, -9),
}


def _folder(place: Path) -> Path:
    place.mkdir()
    return place


def test_two_processes_that_are_stopped_and_killed_end_with_the_bits_of_two_that_were_not(
    tmp_path, report
) -> None:
    store = write_store(tmp_path)
    whole, parts = _folder(tmp_path / "whole"), _folder(tmp_path / "parts")
    assert train(store, *TWO, folder=whole).code == 0
    for fault, (step, rank, number, code) in FAULTS.items():
        if (parts / RUN).exists():
            ended = run_setvae("resume", RUN, folder=parts, acts=(step, rank, number))
        else:
            ended = train(store, *TWO, folder=parts, acts=(step, rank, number))
        assert (ended.code, ended.output, ended.left) == (code, "", ()), (fault, ended)
        assert "Traceback" not in ended.error, (fault, ended)
        assert ended.error.count("error:") == (code == 1), (fault, ended)
    assert run_setvae("resume", RUN, folder=parts).code == 0
    assert_same_end(RunFolder(whole / RUN), RunFolder(parts / RUN))
    report("stopped and killed, two processes", injected=len(FAULTS), survived=len(FAULTS))


def test_processes_that_torchrun_starts_share_one_run(tmp_path) -> None:
    store = write_store(tmp_path)
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    ended = run_setvae(
        "train", "--data", str(store.path), "--preset", "tiny", "--max-epochs", "1", *TWO,
        "--device", "cpu", folder=tmp_path,
        launcher=(torchrun, "--standalone", "--nproc-per-node", "2"),
    )  # fmt: skip
    assert (ended.code, ended.left) == (0, ()), ended
    assert ended.output.count("Result") == 1
    assert [path.name for path in (tmp_path / RUN).parent.iterdir()] == ["version_0"]
