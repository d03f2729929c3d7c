"""A signal never meets half a loader, nor a worker that is not yet set up."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from setvae_cli.data.signals import SIGNALS, signals_wait
from tests.tiny import cohort, write

GROUP_IS_TOLD_AT_THE_FIRST_FORK = """
import multiprocessing, os, signal, sys
from setvae_cli.data.datamodule import SetDataModule
from setvae_cli.settings.run import LoaderSettings
from setvae_cli.store.reader import Store

class Stop(BaseException):
    pass

def stop(number, frame):
    signal.signal(number, signal.SIG_IGN)
    raise Stop

def tell():
    if signal.getsignal(int(sys.argv[2])) is not signal.SIG_IGN:
        os.killpg(0, int(sys.argv[2]))

store = Store.open(sys.argv[1])
data = SetDataModule(store, store.vocabulary, LoaderSettings(num_workers=2), tasks=(), seed=0)
loader = data.train_dataloader()
signal.signal(int(sys.argv[2]), stop)
os.register_at_fork(after_in_parent=tell)
try:
    for batch in loader:
        raise AssertionError("a batch came")
except Stop:
    loader.stop_workers()
    print("stopped", len(multiprocessing.active_children()))
"""


class Told(BaseException):
    """What the handler of these tests raises."""


@pytest.fixture
def raising() -> Iterator[None]:
    def raise_told(number: int, _: FrameType | None) -> None:
        raise Told(number)

    before = signal.signal(signal.SIGTERM, raise_told)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_until_the_end_and_its_handler_is_back(raising) -> None:
    handler, reached = signal.getsignal(signal.SIGTERM), False
    with pytest.raises(Told), signals_wait():
        # To this thread: another one, of some library, might take it only after the end.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        reached = True
    assert reached
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not set(SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_signal_that_another_thread_takes_waits_too(raising) -> None:
    """A signal to the process goes to any thread that lets it; handlers run in the main one."""
    reached = False
    with pytest.raises(Told), signals_wait():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        signal.raise_signal(signal.SIGTERM)
        reached = True
    assert reached


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_while_workers_start_is_the_parents_alone(
    tmp_path: Path, number: int
) -> None:
    write(cohort(60), tmp_path / "store")
    done = subprocess.run(
        [sys.executable, "-c", GROUP_IS_TOLD_AT_THE_FIRST_FORK, tmp_path / "store", str(number)],
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped 0\n", "")


ORPHAN = """
import os, signal, time
from torch.utils.data import DataLoader, Dataset
from setvae_cli.data.signals import follow_parent

class Large(Dataset):
    def __len__(self):
        return 9

    def __getitem__(self, place):
        return "x" * 1_000_000

loader = iter(DataLoader(Large(), batch_size=None, num_workers=1, worker_init_fn=follow_parent))
next(loader)
time.sleep(0.5)  # the worker has begun to hand over more than a pipe holds
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_worker_that_waits_with_a_batch_ends_with_its_killed_parent() -> None:
    command = [sys.executable, "-c", ORPHAN]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)  # until both ended
    assert done.returncode == -signal.SIGKILL, done.stderr
