"""Every parser gives a result or a SetvaeError, whatever the bytes; hypothesis looks for others.

50 examples a parser; `FAULTS_TIMES=20` in the environment makes it 1 000, other ones each time.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from setvae_cli.errors import SetvaeError
from setvae_cli.files import checksum_plain
from setvae_cli.runs import checkpoint, export, metrics_log
from setvae_cli.runs.manifest import read_manifest
from setvae_cli.runs.settings_file import _seal, read_settings
from setvae_cli.settings.command import COMMANDS, TrainSettings
from setvae_cli.settings.merge import merge
from setvae_cli.store.reader import Store
from tests.faults.artefacts import payload, same
from tests.faults.damage import TIMES, put
from tests.faults.foreign import FORMATS
from tests.faults.limits import within
from tests.faults.test_damaged_artefacts import ARTEFACTS

EXAMPLES = 50 * TIMES
often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=TIMES == 1,
    suppress_health_check=list(HealthCheck),
)
Read = Callable[[Path], Any]


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """Arbitrary bytes; or good ones with some pieces cut out, repeated, or put in."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=300))
    content = whole
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        stop = draw(st.integers(start, min(len(content), start + 40)))
        put_in = draw(st.binary(max_size=8) | st.just(content[start:stop] * 2) | odd)
        content = content[:start] + put_in + content[stop:]
    return content


odd = st.sampled_from(
    [
        b"",
        b"\0",
        b"\n",
        b",",
        b'"',
        b"-",
        b"1e999",
        b"nan",
        b"-1",
        b"9" * 30,
        b"{",
        b"[" * 5_000,
        b"\xff\xfe",
        b"\xc3",
        "é".encode(),
        b"inf",
        b": ",
        b"null",
        b"&a *a",
        b"!!python/name:os",
    ]
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


class Examples:
    """Runs one parser on example after example."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read, self.seen = read, 0

    def check(self) -> Any:
        """What was read; None where it was refused."""
        self.seen += 1
        try:
            with within(20):
                return self.read()
        except SetvaeError as error:
            assert "\n" not in str(error)
            return None

    def tell(self, report: Callable[..., None], name: str) -> None:
        report(f"bytes, {name}", injected=self.seen, survived=self.seen, silent_wrong=None)


OWN = [name for name in ARTEFACTS if name not in ("event file", "store, shard")]


@pytest.mark.parametrize("name", OWN)
def test_a_file_of_ours_is_read_or_refused(tmp_path, report, name) -> None:
    path = ARTEFACTS[name].make(tmp_path)
    examples = Examples(lambda: ARTEFACTS[name].read(path))

    @often
    @given(mutated(path.read_bytes()))
    def check(content: bytes) -> None:
        put(path, content)
        examples.check()

    check()
    examples.tell(report, name)


@pytest.mark.parametrize("name", FORMATS)
def test_input_is_read_or_refused(tmp_path, report, name) -> None:
    path = FORMATS[name].make(tmp_path)
    examples = Examples(lambda: FORMATS[name].use(path))

    @often
    @given(mutated(path.read_bytes()))
    def check(content: bytes) -> None:
        put(path, content)
        examples.check()

    check()
    examples.tell(report, name)


def test_a_checkpoint_with_sound_checksums_around_any_pickle_is_read_or_refused(
    tmp_path, report
) -> None:
    path = ARTEFACTS["checkpoint"].make(tmp_path)
    entries = _entries(path)
    (name,) = [name for name in entries if name.endswith("data.pkl")]
    examples = Examples(lambda: dict(checkpoint.read(path).payload))

    @often
    @given(mutated(entries[name]))
    def check(content: bytes) -> None:
        _zip(path, entries | {name: content})
        examples.check()

    check()
    examples.tell(report, "checkpoint's pickle")


def _entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(path: Path, entries: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    put(path, buffer.getvalue())


def test_a_checkpoint_whose_header_says_anything_is_read_or_refused(tmp_path, report) -> None:
    path = tmp_path / "last.ckpt"
    examples = Examples(lambda: checkpoint.read(path))

    @often
    @given(st.sampled_from(sorted(payload()["setvae"])), plain)
    def check(field: str, value: Any) -> None:
        whole = payload(floats=4)
        checkpoint.save(path, {**whole, "setvae": {**whole["setvae"], field: value}})
        examples.check()

    check()
    examples.tell(report, "checkpoint's header")


@pytest.mark.parametrize("name", ["store, manifest.json", "manifest.json of a run"])
def test_a_manifest_that_says_anything_is_read_or_refused(tmp_path, report, name) -> None:
    path = ARTEFACTS[name].make(tmp_path)
    whole = json.loads(path.read_text())
    read: Read = (lambda path: Store.open(path.parent)) if "store" in name else read_manifest
    examples = Examples(lambda: read(path))

    @often
    @given(st.sampled_from(sorted(whole)), plain)
    def check(field: str, value: Any) -> None:
        changed = {key: item for key, item in whole.items() if key != "checksum"} | {field: value}
        sealed = {**changed, "checksum": checksum_plain(changed)}
        put(path, json.dumps(sealed).encode())
        examples.check()

    check()
    examples.tell(report, f"sealed {name}")


def test_an_exported_model_with_a_sound_checksum_of_anything_is_read_or_refused(
    tmp_path, report
) -> None:
    path = ARTEFACTS["exported model"].make(tmp_path)
    examples = Examples(lambda: ARTEFACTS["exported model"].read(path))
    start = export._LENGTH + len(export.OPENING)
    end = start + export._DIGEST

    @often
    @given(mutated(path.read_bytes()[end:]))
    def check(rest: bytes) -> None:
        head = path.read_bytes()[:start]
        digest = export._digest(head + b"0" * export._DIGEST + rest, start).encode()
        put(path, head + digest + rest)
        examples.check()

    check()
    examples.tell(report, "sealed exported model")


def test_sealed_settings_of_any_content_are_read_or_refused(tmp_path, report) -> None:
    path = ARTEFACTS["settings.yaml"].make(tmp_path)
    text = path.read_bytes()[: -len(_seal(b""))]
    examples = Examples(lambda: TrainSettings.fields() and read_settings(path))

    @often
    @given(mutated(text))
    def check(content: bytes) -> None:
        put(path, content + _seal(content))
        examples.check()

    check()
    examples.tell(report, "sealed settings.yaml")


def test_a_record_of_the_log_with_a_sound_checksum_is_read_or_ends_the_log(
    tmp_path, report
) -> None:
    path = tmp_path / "metrics.jsonl"
    examples = Examples(lambda: metrics_log.read(path))
    line = metrics_log._line({"step": 1, "x": 0.5})

    @often
    @given(mutated(line[: line.rindex(b',"crc32"')]))
    def check(body: bytes) -> None:
        sealed = body + b',"crc32":"%08x"}\n' % metrics_log.zlib.crc32(body)
        put(path, line + sealed + line)
        found = examples.check()
        assert found is not None
        assert found.good_bytes + found.lost_bytes == path.stat().st_size
        assert same(found.records[:1], ({"step": 1, "x": 0.5},))

    check()
    examples.tell(report, "sealed metrics.jsonl")


names = st.sampled_from([name for name in TrainSettings.fields() if name != "config"])


def test_any_value_of_any_setting_is_taken_or_refused(tmp_path, report) -> None:
    path = tmp_path / "run.yaml"
    examples = Examples(lambda: merge(TrainSettings, options={}, environment={}, config=path))

    @often
    @given(st.dictionaries(names, plain, max_size=4))
    def check(values: dict[str, Any]) -> None:
        put(path, yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "replace"))
        examples.check()

    check()
    examples.tell(report, "values in YAML")


def test_any_environment_is_taken_or_refused(report) -> None:
    known = sorted({field.variable for c in COMMANDS for field in c.fields().values()})
    given_now: dict[str, str] = {}
    examples = Examples(lambda: merge(TrainSettings, options={}, environment=given_now))
    variables = st.sampled_from(known) | st.text(max_size=8).map("SETVAE_{}".format)
    values = st.text(max_size=12) | st.from_regex(re.compile(r"[-\d.e+, ]{1,12}"), fullmatch=True)

    @often
    @given(st.dictionaries(variables, values, max_size=3))
    def check(environment: dict[str, str]) -> None:
        given_now.clear()
        given_now.update(environment)
        examples.check()

    check()
    examples.tell(report, "environment")
