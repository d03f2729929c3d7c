from __future__ import annotations

import logging
import os
import pickle
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from setvae_cli.errors import DataError, InputError, RunError, SettingsError
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources.recognise import open_source
from setvae_cli.sources.records import Labels
from setvae_cli.sources.simulated import SimulatedSource
from setvae_cli.store import writer
from setvae_cli.store.cache import _fill, prepared
from setvae_cli.store.precompute import (
    _least_bytes,
    file_states,
    inspect,
    precompute,
    verify,
)
from setvae_cli.store.reader import Store
from tests.tiny import TinySource, cohort, outcomes, records, write


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    source = SimulatedSource(SourceSettings(subjects=600))
    write(source, tmp_path / "one")
    write(source, tmp_path / "two", workers=2)
    write(source, tmp_path / "as_it_takes", workers=None)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "as_it_takes")
    assert sorted(contents(tmp_path / "one")) == [
        "manifest.json",
        "rows.parquet",
        "shards/00000.arrow",
        "truth.parquet",
        "vocabulary.parquet",
    ]


def test_a_store_holds_the_events_of_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SHARD_ELEMENTS", 100)
    source = cohort()
    write(source, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert max(store.columns.shard) >= 1
    wanted = sorted(
        (records.subjects["subject_id"][event["subject"]].as_py(), event["time"], event["code"],
         repr(float("nan") if event["value"] is None else float(np.float32(event["value"]))))
        for records in source.content
        for event in records.events.to_pylist()
    )  # fmt: skip
    found = []
    for row in range(len(store)):
        shard = store.shard(int(store.columns.shard[row]))
        place = store.columns.row_in_shard[row]
        subject = store.rows["subject_id"][row].as_py()
        for s in range(shard.row_offsets[place], shard.row_offsets[place + 1]):
            for e in range(shard.set_offsets[s], shard.set_offsets[s + 1]):
                code, value = store.vocabulary.codes[shard.keys[e]], float(shard.values[e])
                found.append((subject, shard.positions[s, 0], code, repr(value)))
    assert sorted(found) == wanted


def test_the_summary_says_what_the_store_holds(tmp_path: Path) -> None:
    summary = write(cohort(), tmp_path / "store")
    assert summary == inspect(tmp_path / "store")
    assert [split.subjects for split in summary.splits.values()] == [28, 6, 6]
    assert summary.splits["train"].positive["death"] == pytest.approx(0.2, abs=0.02)
    assert summary.codes == {"numeric": 2, "category": 1, "binary": 1, "presence": 1}
    total = sum(split.elements for split in summary.splits.values())
    assert total == sum(part.events.num_rows for part in cohort().content)
    assert summary.bytes == sum(map(len, contents(tmp_path / "store").values()))


def test_files_of_a_store_are_private(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    for path in [tmp_path / "store", *(tmp_path / "store").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_an_existing_place_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write(cohort(), tmp_path / "store")
    assert (tmp_path / "store").read_text() == "mine"


@dataclass(frozen=True)
class Interrupting:
    def read(self) -> None:
        raise KeyboardInterrupt


def test_interrupted_work_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    class Interrupted(TinySource):
        def parts(self, scratch):
            yield from super().parts()
            yield Interrupting()

    with pytest.raises(KeyboardInterrupt):
        write(Interrupted(cohort().content), tmp_path / "store")
    assert list(tmp_path.iterdir()) == []
    write(cohort(), tmp_path / "store")
    verify(tmp_path / "store")


@pytest.mark.parametrize("name", ["manifest.json", "rows.parquet", "shards/00000.arrow"])
def test_a_changed_byte_is_found_by_verify(tmp_path: Path, name: str) -> None:
    write(cohort(), tmp_path / "store")
    path = tmp_path / "store" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises((DataError, InputError), match=r"checksum differs|damaged"):
        verify(tmp_path / "store")


def test_a_truncated_or_missing_file_is_found_on_opening(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    shard = tmp_path / "store" / "shards" / "00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(DataError, match="another size"):
        Store.open(tmp_path / "store")
    shard.unlink()
    with pytest.raises(DataError, match="missing"):
        Store.open(tmp_path / "store")


def test_a_store_of_a_later_format_is_refused(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    manifest = tmp_path / "store" / "manifest.json"
    text = manifest.read_text().replace('"format_version": 1', '"format_version": 2')
    manifest.write_text(text)
    with pytest.raises(InputError, match="format version 2, expected 1"):
        Store.open(tmp_path / "store")


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no store.*setvae precompute"):
        Store.open(tmp_path)


def test_a_store_pickles_as_its_path(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    content = pickle.dumps(Store.open(tmp_path / "store"))
    assert len(content) < 1000
    assert pickle.loads(content).digest == inspect(tmp_path / "store").digest


def test_values_that_are_missing_where_others_are_not_are_dropped_and_counted(
    tmp_path: Path,
) -> None:
    part = cohort(20, parts=1).content[0]
    extra = records([("late", 0.0, "lab", None), ("late", 1.0, "note", None)])
    summary = write(TinySource([part, extra]), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert summary.drops == {"empty value": 1}
    assert store.columns.n_elements[-1] == 1
    assert store.vocabulary.kinds[store.vocabulary.codes.index("note")] == "presence"


def test_subjects_without_events_are_left_out_and_counted(tmp_path: Path) -> None:
    part = cohort(20, parts=1).content[0]
    names = [*part.subjects["subject_id"].to_pylist(), "nobody"]
    empty = type(part)(pa.table({"subject_id": names}), part.events)
    summary = write(TinySource([empty]), tmp_path / "store")
    assert summary.drops == {"subject without events": 1}
    assert sum(split.subjects for split in summary.splits.values()) == 20


def test_the_text_of_an_attribute_is_not_in_the_error(tmp_path: Path) -> None:
    events = [(f"s{i}", 0.0, ("note=Smith", "note=SMITH")[i % 2], None) for i in range(20)]
    with pytest.raises(InputError, match=r"'note=\.\.\.' differ only") as caught:
        write(TinySource([records(events)]), tmp_path / "store")
    assert "smith" not in str(caught.value).casefold()


def test_more_than_five_percent_of_infinite_values_are_refused(tmp_path: Path) -> None:
    events = [(f"s{i}", 0.0, "lab", float("inf") if i < 3 else 1.0) for i in range(40)]
    with pytest.raises(InputError, match="3 of 40 rows were dropped"):
        write(TinySource([records(events)]), tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "names", [("Lab", "lab"), ("lab ", "lab"), ("caf\u00e9", "cafe\u0301"), ("a\x00b", "c")]
)
def test_names_of_codes_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    events = [(f"s{i}", 0.0, names[i % 2], 1.0) for i in range(20)]
    with pytest.raises(InputError, match=r"differ only|control"):
        write(TinySource([records(events)]), tmp_path / "store")


def test_a_missing_label_is_masked_and_said_and_an_unknown_subject_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {f"s{i}": i % 2 for i in range(20)} | {"s3": None, "stranger": 1}
    del labels["s4"]
    with caplog.at_level(logging.WARNING):
        write(cohort(20, outcomes=outcomes(labels)), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    known = dict(zip(store.rows["subject_id"].to_pylist(), store.labels[:, 0], strict=True))
    assert known["s3"] == known["s4"] == -1
    assert known["s5"] == 1
    assert "2 of 20 subjects have no label death" in caplog.text
    assert "1 label of no subject" in caplog.text
    assert "stranger" not in caplog.text


def test_two_labels_for_one_subject_are_refused(tmp_path: Path) -> None:
    twice = pa.table({"subject_id": ["s1", "s1"], "death": pa.array([0, 1], pa.int32())})
    with pytest.raises(InputError, match="more than one label"):
        write(cohort(outcomes=Labels(twice, "outcomes.csv")), tmp_path / "store")


def test_labels_of_one_prediction_time_go_to_the_row_of_that_time(tmp_path: Path) -> None:
    events = [(f"s{i}", 0.0, "lab", float(i)) for i in range(20)]
    part = records(events, prediction_time=[float(i) for i in range(20)])
    times = pa.table({"subject_id": ["s1", "s2"], "prediction_time": [1.0, 7.0],
                      "death": pa.array([1, 1], pa.int32())})  # fmt: skip
    write(TinySource([part], Labels(times, "labels")), tmp_path / "store")
    assert Store.open(tmp_path / "store").labels[1:3, 0].tolist() == [1, -1]


def test_the_split_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    source = cohort(40, parts=1)
    part = source.content[0]
    order = np.random.default_rng(1).permutation(40)
    back = np.argsort(order)
    events = part.events.set_column(
        0, "subject", pa.array(back[part.events["subject"].to_numpy()], pa.int32())
    )
    shuffled = type(part)(part.subjects.take(pa.array(order)), events)
    write(source, tmp_path / "a")
    write(TinySource([shuffled], source.outcomes, source.given_kinds), tmp_path / "b")
    splits = [
        dict(zip(*(store.rows[name].to_pylist() for name in ("subject_id", "split")), strict=True))
        for store in (Store.open(tmp_path / "a"), Store.open(tmp_path / "b"))
    ]
    assert splits[0] == splits[1]
    other = write(source, tmp_path / "c", split_seed=1)
    assert other.digest != inspect(tmp_path / "a").digest


def test_groups_never_cross_splits(tmp_path: Path) -> None:
    events = [(f"s{i}", float(i), "lab", float(i)) for i in range(60)]
    groups = [f"g{i // 3}" for i in range(60)]
    write(TinySource([records(events, group_id=groups)]), tmp_path / "store")
    rows = Store.open(tmp_path / "store").rows
    pairs = set(zip(rows["group_id"].to_pylist(), rows["split"].to_pylist(), strict=True))
    assert len(pairs) == 20


def test_given_splits_that_share_a_group_are_refused_with_a_count(tmp_path: Path) -> None:
    events = [(f"s{i}", 0.0, "lab", float(i)) for i in range(6)]
    split = ["train", "train", "validation", "validation", "test", "test"]
    part = records(events, split=split, group_id=["a", "b", "a", "c", "d", "e"])
    with pytest.raises(InputError, match=r"^1 groups .* more than one split"):
        write(TinySource([part]), tmp_path / "store")


def test_the_same_stay_under_two_ids_in_two_splits_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = [(f"s{i}", 0.0, "lab", float(i // 2)) for i in range(6)]
    part = records(events, split=["train", "test", "train", "train", "validation", "validation"])
    with caplog.at_level(logging.WARNING):
        write(TinySource([part]), tmp_path / "store")
    assert "1 subject with exactly the events of a subject in another split" in caplog.text


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the test split is empty"):
        write(cohort(2, parts=1, outcomes=None), tmp_path / "store")
    events = [(f"s{i}", 0.0, "lab", 1.0) for i in range(3)]
    part = records(events, split=["train", "train", "validation"])
    with pytest.raises(InputError, match="test split is empty"):
        write(TinySource([part]), tmp_path / "store")


def test_a_split_column_without_any_value_is_no_given_split(tmp_path: Path) -> None:
    events = [(f"s{i}", 0.0, "lab", float(i)) for i in range(20)]
    part = records(events, split=pa.nulls(20, pa.string()))
    summary = write(TinySource([part]), tmp_path / "store", split_fractions=(0.8, 0.2, 0))
    assert [split.subjects for split in summary.splits.values()] == [16, 4, 0]


def test_a_split_without_training_is_refused() -> None:
    with pytest.raises(ValueError, match="must begin with a share of train above 0"):
        StoreSettings(split_fractions=(0, 0.5, 0.5))


def test_a_subject_in_two_parts_is_refused(tmp_path: Path) -> None:
    part = cohort(20, parts=1).content[0]
    with pytest.raises(InputError, match="20 subjects stand in the input twice"):
        write(TinySource([part, part]), tmp_path / "store")


def test_attributes_and_prediction_times_stand_in_the_rows(tmp_path: Path) -> None:
    events = [(f"s{i}", 0.0, "lab", float(i)) for i in range(20)]
    first = records(events[:10], attribute__age=list(range(10)))
    second = records(events[10:], attribute__age=[None] * 9 + ["old"], attribute__sex=["f"] * 10)
    write(TinySource([first, second]), tmp_path / "store")
    table = pq.read_table(tmp_path / "store" / "rows.parquet")
    assert table["attribute.age"].to_pylist()[:2] == ["0", "1"]
    assert table["attribute.sex"].to_pylist()[9:11] == [None, "f"]
    assert table["prediction_time"].null_count == 20


def test_a_dead_worker_leaves_nothing(tmp_path: Path) -> None:
    source = TinySource([])
    killer = SimpleNamespace(read=partial(signal.raise_signal, signal.SIGKILL))
    source.parts = lambda scratch: iter([killer, killer])  # type: ignore[method-assign, assignment]
    with pytest.raises(RunError, match="a worker process died"):
        write(source, tmp_path / "store", workers=2)
    assert list(tmp_path.iterdir()) == []


def test_raw_input_is_precomputed_once_and_again_when_it_changes(tmp_path: Path) -> None:
    sink: list[object] = []
    small = SourceSettings(subjects=40)

    def get(**changes: int) -> Store:
        source = small.model_copy(update=changes)
        return prepared(None, source, StoreSettings(), tmp_path / "cache", sink=sink.append)

    first = get()
    written = len(sink)
    assert written
    assert get().path == first.path
    assert len(sink) == written
    assert get(cohort_seed=1).digest != first.digest
    opened = prepared(first.path, SourceSettings(), StoreSettings(), tmp_path, sink=sink.append)
    assert opened.path == first.path
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("option", "source", "store"),
    [
        ("--labels", {"labels": "outcomes.csv"}, {}),
        ("--map", {"map": ("label:death=death",)}, {}),
        ("--set-window", {}, {"set_window": 60}),
        ("--categories", {}, {"categories": ("mode",)}),
        ("--split-fractions", {}, {"split_fractions": (0.8, 0.1, 0.1)}),
        ("--split-seed", {}, {"split_seed": 3}),
    ],
)
def test_what_a_prepared_store_cannot_follow_is_refused(
    tmp_path: Path, option: str, source: dict[str, Any], store: dict[str, Any]
) -> None:
    write(cohort(), tmp_path / "store")
    with pytest.raises(
        SettingsError, match=rf"^{option}: is for raw input, and .* or prepare again"
    ):
        prepared(
            tmp_path / "store",
            SourceSettings(**source),
            StoreSettings(**store),
            tmp_path / "cache",
            sink=print,
        )


def test_a_cache_of_another_version_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get() -> Store:
        return prepared(None, SourceSettings(subjects=40), StoreSettings(), tmp_path, sink=print)

    first = get()
    monkeypatch.setattr("setvae_cli.store.cache.version", lambda name: "0.0.1")
    assert get().path != first.path


@pytest.mark.parametrize("kind", ["empty", "folder", "fifo"])
def test_a_bad_file_of_a_patient_is_left_out_when_asked_for(tmp_path: Path, kind: str) -> None:
    stays = tmp_path / "stays"
    stays.mkdir()
    for i in range(20):
        text = f"Time,Parameter,Value\n00:00,RecordID,{i}\n00:10,HR,{60 + i}\n"
        (stays / f"{i}.txt").write_text(text)
    bad = {"empty": Path.touch, "folder": Path.mkdir, "fifo": os.mkfifo}
    bad[kind](stays / "20.txt")
    settings = SourceSettings(source="physionet2012", skip_bad_files=True)
    made = prepared(stays, settings, StoreSettings(), tmp_path / "cache", sink=lambda record: None)
    assert len(made) == 20


def test_a_store_that_another_process_made_meanwhile_is_taken(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    before = contents(tmp_path / "store")
    settings = SourceSettings(), StoreSettings()
    _fill(cohort(), *settings, tmp_path / "store", sink=print, workers=1)
    assert contents(tmp_path / "store") == before


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    def get() -> Store:
        return prepared(None, SourceSettings(subjects=40), StoreSettings(), tmp_path, sink=print)

    first = get()
    for name in ("shards/00000.arrow", "manifest.json"):
        (first.path / name).write_bytes(b"{")
        assert get().digest == first.digest
        verify(first.path)


def test_input_that_changes_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "stays").mkdir()
    for i in range(20):
        text = f"Time,Parameter,Value\n00:00,RecordID,{i}\n00:10,HR,{60 + i}\n"
        (tmp_path / "stays" / f"{i}.txt").write_text(text)
    outcome = tmp_path / "outcomes.csv"
    outcome.write_text("RecordID,death\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    settings = SourceSettings(source="physionet2012", labels=outcome)

    lines = count(1)

    def change(record: object) -> None:
        stay = tmp_path / "stays" / "0.txt"
        stay.write_text("Time,Parameter,Value\n" + "00:10,HR,1\n" * next(lines))

    def get(sink: Callable[[object], None]) -> Store:
        return prepared(
            tmp_path / "stays", settings, StoreSettings(), tmp_path / "cache", sink=sink
        )

    with pytest.raises(DataError, match="was changed while it was read"):
        get(change)
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(DataError, match="was changed while it was read"):
        precompute(
            open_source(tmp_path / "stays", settings),
            StoreSettings(),
            tmp_path / "store",
            sink=change,
        )
    assert not (tmp_path / "store").exists()
    assert len(get(lambda record: None)) == 20
    outcome.unlink()
    with pytest.raises(InputError, match="no such file"):
        get(change)


def test_a_store_says_nothing_about_paths(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    assert all(str(tmp_path).encode() not in text for text in contents(tmp_path / "store").values())


def test_real_stays_are_prepared(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "physionet2012"
    settings = SourceSettings(labels=folder / "outcomes.csv")
    source = open_source(folder / "p12_small.tar.gz", settings)
    summary = precompute(source, StoreSettings(), tmp_path / "store", sink=lambda record: None)
    assert sum(split.subjects for split in summary.splits.values()) == 400
    assert summary.splits["train"].positive["in_hospital_mortality"] == pytest.approx(
        0.13, abs=0.01
    )


def test_a_disk_without_room_for_the_store_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    source = cohort()
    source.total = lambda: (10**14, "rows")  # type: ignore[method-assign]
    source.parts = lambda scratch: pytest.fail("was read")  # type: ignore[method-assign]
    with pytest.raises(InputError, match=r"free, expected at least 800 TB for the store; free"):
        write(source, tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_no_store_is_smaller_than_the_room_that_is_asked_for(
    tmp_path: Path, shared_data: Path
) -> None:
    folder = shared_data / "physionet2012"
    settings = SourceSettings(labels=folder / "outcomes.csv")
    archive = open_source(folder / "p12_small.tar.gz", settings)
    for name, source in {
        "built_in": SimulatedSource(SourceSettings(subjects=300)),
        "archive": archive,
    }.items():
        summary = precompute(source, StoreSettings(), tmp_path / name, sink=lambda record: None)
        assert 0 < _least_bytes(source, file_states(source)) < summary.bytes


def test_groups_that_leak_are_named_in_a_private_file_only(tmp_path: Path) -> None:
    events = [(f"s{i}", 0.0, "lab", float(i)) for i in range(8)]
    split = ["train", "train", "validation", "validation", "test", "test", "train", "test"]
    part = records(events, split=split, group_id=["b", "a", "b", "c", "d", "e", "f", "f"])
    with pytest.raises(InputError, match=r"^2 groups .* \(precompute --leaked-groups-file"):
        precompute(
            TinySource([part]),
            StoreSettings(),
            tmp_path / "store",
            sink=lambda record: None,
            leaked_to=tmp_path / "leaked.txt",
        )
    assert sorted((tmp_path / "leaked.txt").read_text().split()) == ["b", "f"]
    assert stat.S_IMODE((tmp_path / "leaked.txt").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["leaked.txt"]
