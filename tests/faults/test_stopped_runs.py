"""A run of 400 steps that is killed or told to end at random instants ends with the same bits.

Instants follow from `FAULTS_SEED` in the environment, 0 where it is not set.
"""

from __future__ import annotations

import random
import signal
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from setvae_cli.runs.folder import RunFolder
from tests.faults.runs import SEED, STEPS, Study, differences

KILLS, SIGNALS = 50, 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, float, float]:
    """A run that was never stopped, the seconds to its first step, and those of a step."""
    study = Study(tmp_path_factory.mktemp("whole"))
    study.write()
    end = study.train()
    assert (end.code, end.steps) == (0, STEPS)
    assert study.run is not None
    assert end.began is not None
    return study.run, end.began, (end.seconds - end.began) / STEPS


@pytest.fixture
def study(tmp_path: Path, whole: object) -> Study:
    """A folder of its own for one kind of fault."""
    study = Study(tmp_path)
    study.write()
    return study


def instants(whole: tuple[RunFolder, float, float], faults: int) -> Iterator[float]:
    """Seconds from a start to a fault: anywhere in the start, and in as many steps as one needs."""
    _, start, step = whole
    generator = random.Random(SEED)
    while True:
        yield generator.uniform(0, 1.3 * start + 2.2 * step * STEPS / faults)


def stop_often(study: Study, whole, number: int, faults: int, codes: set[int]) -> int:
    """Stop runs so many times; those that end meanwhile are compared, and so is the last.

    Returns:
        Faults after which all was as promised.
    """
    survived, injected, ends, training = 0, 0, 0, 0
    wrong: list[str] = []
    for after in instants(whole, faults):
        end = study.train(number, after)
        if end.code == 0:  # it was faster than the signal
            assert study.run is not None
            assert differences(study.run, whole[0]) == []
            ends += 1
            study.run.path.rename(study.folder / f"done{ends}")
            continue
        injected += 1
        training += end.steps > 0
        if end.code in codes and study.is_whole():
            survived += 1
        else:
            wrong.append(f"fault {injected}: {end}, {'whole' if study.is_whole() else 'not whole'}")
        if injected == faults:
            break
    assert study.train().code == 0
    assert study.run is not None
    assert differences(study.run, whole[0]) == []
    study.steps -= ends * STEPS
    assert wrong == []
    assert training > faults / 4  # others met the start
    return survived


def test_a_run_that_is_killed_fifty_times_ends_with_the_same_bits(study, whole, report) -> None:
    survived = stop_often(study, whole, signal.SIGKILL, KILLS, {-signal.SIGKILL})
    repeated = study.steps - STEPS
    report(f"kill -9, run, {repeated} steps again", injected=KILLS, survived=survived)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_a_run_that_is_told_to_end_twenty_times_ends_with_the_same_bits(
    study, whole, report, name
) -> None:
    number = signal.Signals[f"SIG{name}"]
    survived = stop_often(study, whole, number, SIGNALS, {128 + number})
    median, longest = statistics.median(study.exits), max(study.exits)
    assert study.steps <= 2 * STEPS
    report(
        f"{name}, run, ends in {median:.2f}-{longest:.2f} s", injected=SIGNALS, survived=survived
    )
