"""Records are appended whole or not at all."""

import stat

import pytest

from setvae_cli.errors import RunError
from setvae_cli.runs.appender import Appender


def test_records_stand_behind_what_was_there(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"first ")
    file = Appender(path)
    file.append(b"second ")
    file.append(b"third")
    file.close()
    file.close()
    assert path.read_bytes() == b"first second third"


def test_a_fresh_file_is_private_and_replaces_nothing(tmp_path):
    Appender(tmp_path / "log", fresh=True).close()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    with pytest.raises(RunError, match="log: cannot be written: file exists"):
        Appender(tmp_path / "log", fresh=True)
