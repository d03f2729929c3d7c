from __future__ import annotations

import operator
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from setvae_cli.errors import InputError, RunError
from setvae_cli.files import check_regular
from setvae_cli.store.engines import map_ordered

double = partial(operator.mul, 2)


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


def test_a_dask_scheduler_gives_the_same_results() -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        results = list(map_ordered(double, range(5), workers=cluster.scheduler_address))
    assert results == [0, 2, 4, 6, 8]
