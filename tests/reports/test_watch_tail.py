"""The log that grows: every record once, none half, and a log that was cut is another log."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.errors import InputError
from setvae_cli.reports.watch.tail import Tail
from setvae_cli.runs.metrics_log import MetricsLog, read
from tests.reports.watched import append, records, write_log

plain = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
record = st.dictionaries(st.text().filter(lambda name: name != "crc32"), plain, min_size=1)


def line(values: dict[str, Any]) -> bytes:
    body = json.dumps(values, separators=(",", ":")).encode()[:-1]
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)


def everything(tail: Tail) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        read_now = tail.read()
        found = [*([] if read_now.anew else found), *read_now.records]
        if not read_now.more:
            return found


@settings(deadline=None)
@given(written=st.lists(record, max_size=8), cuts=st.lists(st.integers(0, 2000)), junk=st.binary())
def test_any_chunks_give_the_records_of_one_whole_read(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[dict[str, Any]],
    cuts: list[int],
    junk: bytes,
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    data = b"".join(map(line, written)) + junk
    tail, found = Tail(path), []
    for cut in [*sorted(cuts), len(data)]:
        path.write_bytes(data[:cut])
        read_now = tail.read()
        assert not read_now.anew
        found += read_now.records
    assert tuple(found) == read(path).records


@settings(deadline=None)
@given(written=st.lists(record, min_size=1, max_size=8), chunk=st.integers(400, 900))
def test_a_long_log_is_read_in_parts_without_losing_one(
    tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, Any]], chunk: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    short = [values for values in written if len(line(values)) < 400] * 5
    path.write_bytes(b"".join(map(line, short)))
    assert everything(Tail(path, chunk)) == short


def test_a_half_written_record_is_not_shown_and_not_lost(tmp_path: Path) -> None:
    path = write_log(tmp_path, records(30))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    tail = Tail(path)
    before = tail.read()
    assert [each["step"] for each in before.records] == [0, 10, 20]
    assert before.damaged_bytes == 0
    assert tail.read().records == ()
    path.write_bytes(whole)
    assert [each["step"] for each in tail.read().records] == [30]


def test_a_log_that_a_resume_cut_is_read_anew(tmp_path: Path) -> None:
    path = write_log(tmp_path, records(50))
    upto = path.read_bytes().index(b'{"step":40')
    tail = Tail(path)
    assert len(tail.read().records) == 6
    MetricsLog(path, upto).close()
    cut = tail.read()
    assert cut.anew
    assert [each["step"] for each in cut.records] == [0, 10, 20, 30]


def test_a_log_that_was_cut_and_has_grown_beyond_its_old_length_is_read_anew(
    tmp_path: Path,
) -> None:
    path = write_log(tmp_path, records(50))
    upto = path.read_bytes().index(b'{"step":40')
    tail = Tail(path)
    tail.read()
    MetricsLog(path, upto).close()
    append(path, [{**each, "seconds": 99.123} for each in records(90)[3:]])
    found = tail.read()
    assert found.anew
    assert found.records == read(path).records


def test_a_damaged_record_ends_what_is_shown_and_is_told_in_bytes(tmp_path: Path) -> None:
    path = write_log(tmp_path, records(30))
    data = bytearray(path.read_bytes())
    start = data.index(b'{"step":20')
    data[start + 12] ^= 1
    path.write_bytes(data)
    found = Tail(path).read()
    assert [each["step"] for each in found.records] == [0, 10]
    assert found.damaged_bytes == len(data) - start


def test_a_log_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(InputError, match=re.escape(f"{path}: no such file or directory")):
        Tail(path).read()
