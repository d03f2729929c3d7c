"""Statistics, embeddings and stores that cannot be used, numbered as the list of bad inputs is."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.bad_inputs import (
    Factory,
    check_refusal,
    check_success,
    events,
    patients,
    precompute,
    table,
    train,
)

SPLITS = {"train": range(20), "valid": range(20, 26), "test": range(26, 32)}
STATISTICS = "variable,mean,std\npulse,1234.56789,2\ntemperature,1,{}\n"
EMBEDDINGS = "Key,0,1\npulse,1,2\ntemperature,{}\n"
NO_NUMBERS = r"data/stats\.csv: a mean or std is missing, not finite or negative; correct it, .*"
NO_TABLE = r"data/{}\.csv: is not a table of UTF-8 text with a header, .*; check how it was written"


def beside(name: str, content: str | bytes, *options: str) -> Factory:
    """The layout of SeqSetVAE with one more file beside the patients."""

    def make(folder: Path) -> list[str]:
        data = patients(SPLITS)(folder)
        raw = content if isinstance(content, bytes) else content.encode()
        folder.joinpath("data", name).write_bytes(raw)
        return [*data, *options]

    return make


def with_objects() -> bytes:
    """An array of NumPy whose elements are pickled."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


REFUSED: dict[str, tuple[Factory, str]] = {
    "52 negative": (beside("stats.csv", STATISTICS.format(-1)), NO_NUMBERS),
    "52 NaN": (beside("stats.csv", STATISTICS.format("nan")), NO_NUMBERS),
    "52 missing": (beside("stats.csv", STATISTICS.format("")), NO_NUMBERS),
    "52 text": (beside("stats.csv", STATISTICS.format("two")), NO_TABLE.format("stats")),
    "52 twice": (
        beside("stats.csv", STATISTICS.format(1) + "pulse,1,1\n"),
        r"data/stats\.csv: a name is missing or stands twice; give every row its own name",
    ),
    "52 no column": (
        beside("stats.csv", "variable,mean,sd\npulse,1,2\n"),
        r"data/stats\.csv: no column 'std', nearest is 'sd'; rename it",
    ),
    "52 elsewhere": (
        beside("other.csv", b"", "--params-map-path", "data/other.csv"),
        r"data/other\.csv: is empty, 0 bytes \(statistics of codes\); check how it was made",
    ),
    "53 code": (
        beside("stats.csv", "variable,mean,std\npulse,1,2\n"),
        r"data: the statistics lack 1 codes, such as 'temperature'; add them, .*",
    ),
    "58 width": (beside("cached.csv", EMBEDDINGS.format("1")), NO_TABLE.format("cached")),
    "58 nothing": (
        beside("cached.csv", "Key\npulse\ntemperature\n"),
        r"data/cached\.csv: holds no numbers beside the column Key; add an embedding a row",
    ),
    "59 rows": (
        beside("cached.csv", "Key,0,1\npulse,1,2\n"),
        r"data: the embeddings lack 1 of 2 codes, such as 'temperature'; embed every code, .*",
    ),
    "60 pickled": (
        beside("cached.csv", with_objects()),
        r"data/cached\.csv: is not text; name a CSV or Parquet file",
    ),
    "61 zero": (
        beside("cached.csv", EMBEDDINGS.format("0,0")),
        r"data: 1 embeddings are zero or not finite, such as that of 'temperature'; embed .*",
    ),
    "61 all zero": (
        beside("cached.csv", "Key,0,1\npulse,0,0\ntemperature,0,0\n"),
        r"data/cached\.csv: an embedding is missing or not finite, or all are 0; embed .*",
    ),
    "61 NaN": (
        beside("cached.csv", EMBEDDINGS.format("nan,1")),
        r"data/cached\.csv: an embedding is missing or not finite, or all are 0; embed .*",
    ),
    "unknown category": (
        table(events(), "--categories", "puls"),
        r"--categories: the data has no code 'puls'; name codes as the data spells them",
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", [precompute, train])
@pytest.mark.parametrize("name", REFUSED)
def test_bad_statistics_stop_the_command(
    here, tmp_path: Path, name: str, command: Callable[..., list[str]]
) -> None:
    factory, line = REFUSED[name]
    done = here(*command(*factory(tmp_path)))
    check_refusal(done, command.__name__, line, tmp_path)


def test_51_a_given_std_of_0_becomes_1_and_is_named(here, tmp_path: Path) -> None:
    done = here(*precompute(*beside("stats.csv", STATISTICS.format(0))(tmp_path)))
    line = r"warning: 1 code with std 0 in the statistics, divided by 1: temperature"
    check_success(done, line)


def test_28_statistics_of_a_variable_that_never_occurs_are_left_out(here, tmp_path: Path) -> None:
    content = STATISTICS.format(2) + "never,1,1\n"
    done = here(*precompute(*beside("stats.csv", content)(tmp_path)), "--json")
    assert json.loads(done.stdout)["codes"] == {"numeric": 2}


def as_text(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    return lambda content: change(content.decode()).encode()


def edited(**changes: Any) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps(json.loads(content) | changes).encode()


MANIFESTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "55 cut": (lambda content: content[:-9], r"store: manifest\.json is damaged; prepare the .*"),
    "55 no text": (lambda _: b"\xff\xfe", r"store: manifest\.json is damaged; prepare the .*"),
    "55 list": (lambda _: b"[]", r"store: manifest\.json is damaged; prepare the store again"),
    "55 empty": (lambda _: b"", r"store/manifest\.json: is empty, 0 bytes \(manifest\); check .*"),
    "56 NaN": (
        as_text(lambda text: re.sub(r'"time_scale": [\d.]+', '"time_scale": NaN', text)),
        r"store: manifest\.json is damaged; prepare the store again",
    ),
    "unknown key": (edited(more=1), r"store: manifest\.json is damaged; prepare the store again"),
    "86 version": (
        edited(format_version=99), r"store: has format version 99, expected 1; prepare the .*",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_damaged_manifest_of_a_store_is_named(here, tmp_path: Path, name: str) -> None:
    change, line = MANIFESTS[name]
    assert here(*precompute(*table(events())(tmp_path))).returncode == 0
    manifest = tmp_path / "store/manifest.json"
    manifest.write_bytes(change(manifest.read_bytes()))
    for command in (train("store"), ["precompute", "store", "--inspect"]):
        done = here(*command)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert re.fullmatch(f"setvae {command[0]}: error: {line}\n", done.stderr), done.stderr
    assert not list(tmp_path.rglob("version_*"))


@pytest.mark.parametrize("name", ["rows.parquet", "vocabulary.parquet", "shards/00000.arrow"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_store_that_lacks_a_part_stops_training_at_once(
    here, tmp_path: Path, name: str, damage: str
) -> None:
    assert here(*precompute(*table(events())(tmp_path))).returncode == 0
    part = tmp_path / "store" / name
    content = part.read_bytes()
    part.unlink() if damage == "missing" else part.write_bytes(content[:-1])
    done = here(*train("store"))
    line = rf"store/{re.escape(name)}: is missing or has another size than .*; prepare the .*"
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"setvae train: error: {line}\n", done.stderr), done.stderr
    assert not list(tmp_path.rglob("version_*"))


def test_27_a_vocabulary_that_does_not_fit_its_rows_is_said(here, tmp_path: Path) -> None:
    assert here(*precompute(*table(events())(tmp_path))).returncode == 0
    done = here("precompute", "store/shards", "--verify")
    line = r"setvae precompute: error: store/shards: is no store: it has no manifest\.json; .*\n"
    assert (done.returncode, bool(re.fullmatch(line, done.stderr))) == (2, True), done.stderr
