"""One process writes into a run's folder; where the disk cannot tell, a warning does."""

import errno
import fcntl
import os

import pytest

from setvae_cli.errors import InputError
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.lock import is_locked, locked


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path, "seqsetvae")


def test_a_run_is_locked_until_its_writer_leaves(run):
    assert not is_locked(run)
    with locked(run):
        assert is_locked(run)
        with pytest.raises(InputError, match="another process is training"), locked(run):
            pass
        assert is_locked(run)
    assert not is_locked(run)
    with locked(run):
        pass


def refusing(number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_on_a_disk_without_locks_a_run_goes_on_with_a_warning(run, monkeypatch, caplog, number):
    monkeypatch.setattr(fcntl, "lockf", refusing(number))
    with locked(run):
        assert "no other process trains in the run" in caplog.text


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_process_holds_is_refused(run, monkeypatch, number):
    monkeypatch.setattr(fcntl, "lockf", refusing(number))
    with pytest.raises(InputError, match="another process is training"), locked(run):
        pass
