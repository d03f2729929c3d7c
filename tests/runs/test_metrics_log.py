"""metrics.jsonl: what was written is read, and a damaged tail is counted and not guessed at."""

import math
import resource
import stat
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setvae_cli.errors import InputError, RunError
from setvae_cli.runs.metrics_log import MetricsLog, _line, parse, read

plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False).filter(math.isfinite)
)
records = st.dictionaries(st.text(min_size=1).filter(lambda name: name != "crc32"), plain)


@given(records)
def test_a_record_comes_back_as_it_was(record):
    if not record:
        record = {"step": 1}
    line = _line(record)
    assert line.count(b"\n") == 1
    assert parse(line) == record


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = MetricsLog(path)
    for step in range(5):
        writer.write({"step": step, "train_loss_step": step / 3})
    writer.close()
    return path


def test_a_log_is_private_and_whole(log):
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    contents = read(log)
    assert [record["step"] for record in contents.records] == [0, 1, 2, 3, 4]
    assert contents.lost_bytes == 0


def test_every_cut_of_the_last_record_loses_only_that_record(log):
    data = log.read_bytes()
    start = data.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(data)):
        log.write_bytes(data[:end])
        contents = read(log)
        assert len(contents.records) == 4
        assert contents.lost_bytes == end - start


def test_a_changed_byte_ends_the_readable_part(log):
    data = bytearray(log.read_bytes())
    place = data.index(b'"step":2') + 7
    data[place] ^= 1
    log.write_bytes(bytes(data))
    contents = read(log)
    assert len(contents.records) == 2
    assert contents.good_bytes + contents.lost_bytes == len(data)


def test_writing_goes_on_after_a_damaged_tail_was_cut_off(log):
    with log.open("ab") as file:
        file.write(b'{"step":5,"tra')
    writer = MetricsLog(log)
    writer.write({"step": 6})
    writer.close()
    contents = read(log)
    assert [record["step"] for record in contents.records] == [0, 1, 2, 3, 4, 6]
    assert contents.lost_bytes == 0


def test_what_is_not_finite_or_not_flat_is_refused(log):
    writer = MetricsLog(log)
    for value in (math.nan, math.inf, [1], {"a": 1}):
        with pytest.raises(ValueError):
            writer.write({"x": value})
    writer.close()
    assert read(log).lost_bytes == 0


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl: no such file"):
        read(tmp_path / "metrics.jsonl")


def test_an_opened_log_tells_how_long_its_damaged_tail_was(log):
    with log.open("ab") as file:
        file.write(b'{"step":5,"tra')
    opened = [MetricsLog(log) for _ in range(2)]
    assert [one.lost_bytes for one in opened] == [14, 0]


def test_a_record_with_a_fitting_checksum_that_is_no_json_ends_the_readable_part(log):
    body = b'{"step":'
    with log.open("ab") as file:
        file.write(body + b',"crc32":"%08x"}\n' % zlib.crc32(body))
    assert len(read(log).records) == 5


def test_a_record_that_does_not_fit_leaves_no_part_of_itself(log):
    before = log.read_bytes()
    writer = MetricsLog(log)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
    try:
        with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be written: file too large"):
            writer.write({"note": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.read_bytes() == before
    writer.write({"step": 5})
    assert [record["step"] for record in read(log).records] == [0, 1, 2, 3, 4, 5]
