from __future__ import annotations

import multiprocessing
import operator
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from setvae_cli.errors import InputError, RunError, UsageError
from setvae_cli.files import check_regular
from setvae_cli.store import engines
from setvae_cli.store.engines import Crew, map_ordered

double = partial(operator.mul, 2)


def process_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(map_ordered(double, range(20), workers=workers)) == list(range(0, 40, 2))


def test_items_are_read_only_a_few_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_ordered(double, items(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_worker_arrives_whole(workers: int) -> None:
    check = partial(check_regular, what="outcomes")
    with pytest.raises(InputError, match=r"^a\.csv: no such file \(outcomes\); check the path$"):
        list(map_ordered(check, [Path("a.csv")], workers=workers))


def test_a_dead_worker_is_a_run_error() -> None:
    with pytest.raises(RunError, match=r"a worker process died.*fewer --workers"):
        list(map_ordered(signal.raise_signal, [signal.SIGKILL] * 3, workers=2))


def test_short_work_stays_in_this_process_and_long_work_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "_PATIENCE", 0.2)
    with Crew(None) as crew:
        assert set(crew.map(process_after, [0.0] * 4)) == {os.getpid()}
    with Crew(None) as crew:
        crew._size = 2  # also where there is one core
        first, *others = crew.map(process_after, [0.3] + [0.0] * 5)
        assert first == os.getpid() not in others
        assert os.getpid() not in set(crew.map(process_after, [0.0] * 3))


def test_a_crew_ends_its_processes() -> None:
    with Crew(2) as crew:
        workers = set(crew.map(process_after, [0.1] * 4))
    assert workers
    assert not any(Path("/proc", str(worker)).exists() for worker in workers)


def start_workers_and_wait(pipe: Connection) -> None:
    with Crew(2) as crew:
        pipe.send(set(crew.map(process_after, [0.1] * 4)))
        time.sleep(60)


def test_workers_end_when_their_parent_is_killed() -> None:
    ours, theirs = multiprocessing.Pipe()
    parent = multiprocessing.get_context("spawn").Process(
        target=start_workers_and_wait, args=(theirs,)
    )
    parent.start()
    workers = ours.recv()
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    assert not any(map(alive, workers))


def alive(process: int) -> bool:
    """Whether it runs; one that ended may wait as a zombie for whoever adopted it."""
    try:
        status = Path("/proc", str(process), "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_scheduler_that_cannot_be_used_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "_TIMEOUT", "1s")
    with pytest.raises(UsageError, match=r"needs the dask extra|no Dask scheduler can be reached"):
        list(map_ordered(double, range(5), workers="tcp://127.0.0.1:9"))


def test_a_dask_scheduler_gives_the_same_results() -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        results = list(map_ordered(double, range(5), workers=cluster.scheduler_address))
    assert results == [0, 2, 4, 6, 8]
