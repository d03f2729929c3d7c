"""The event-file reader: every value of whole files, and how much of damaged ones."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from setvae_cli.errors import InputError
from setvae_cli.reports import crc32c
from setvae_cli.reports.curves.joined import join
from setvae_cli.reports.events import read
from setvae_cli.runs.event_file import EventFile
from tests.reports.logs import FIRST_WALL, original, records, write_events


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 8, 60, 511, 512, 513, 1024, 1500])
def test_checksums_of_records_together_are_those_of_each_alone(length: int) -> None:
    content = np.random.default_rng(length).integers(0, 256, (7, length), dtype=np.uint8)
    alone = [masked_crc32c(record.tobytes()) for record in content]
    assert crc32c.masked(content).tolist() == alone


def test_every_scalar_reads_as_tensorboard_reads_it(tmp_path: Path) -> None:
    write_events(tmp_path, original(3000))
    theirs = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    theirs.Reload()
    ours = read(next(tmp_path.iterdir())).scalars
    assert set(ours.tags) == set(theirs.Tags()["scalars"])
    for number, tag in enumerate(ours.tags):
        mine = ours.tag == number
        points = theirs.Scalars(tag)
        assert ours.steps[mine].tolist() == [point.step for point in points]
        assert ours.walls[mine].tolist() == [point.wall_time for point in points]
        assert ours.values[mine].tolist() == [point.value for point in points]


def test_what_our_runs_write_is_read_back(tmp_path: Path) -> None:
    log = EventFile(tmp_path)
    for step in (1, 2, 300, 70_000, 2**33):
        log.write(step, {"train_loss_step": step / 4, "lr": 1e-3})
    log.close()
    found = read(next(tmp_path.iterdir()))
    assert set(found.scalars.tags) == {"setvae/log_format", "train_loss_step", "lr"}
    loss = found.scalars.tag == found.scalars.tags.index("train_loss_step")
    assert found.scalars.steps[loss].tolist() == [1, 2, 300, 70_000, 2**33]
    assert found.scalars.values[loss].tolist() == [0.25, 0.5, 75.0, 17_500.0, 2**31]
    assert (found.lost_bytes, found.unfinished_bytes, found.records) == (0, 0, 7)


def test_events_of_many_layouts_read_as_tensorboard_reads_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "events.out.tfevents.1.h"
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for number in range(600):
            tags = [f"t{k:02d}" for k in generator.permutation(50)[: generator.integers(0, 4)]]
            held = [Summary.Value(tag=tag, simple_value=number - k) for k, tag in enumerate(tags)]
            step = int(generator.choice([0, 5, 127, 128, 20_000, 2**40]))
            event = Event(wall_time=2.5 * number, step=step, summary=Summary(value=held))
            writer.write(event.SerializeToString())
    theirs: dict[str, list[tuple[int, float, float]]] = {}
    for event in RawEventFileLoader(str(path)).Load():
        one = Event.FromString(event)
        for value in one.summary.value:
            points = theirs.setdefault(value.tag, [])
            points.append((one.step, one.wall_time, value.simple_value))
    found = read(path)
    assert (found.records, found.lost_bytes) == (600, 0)
    columns = (found.scalars.steps, found.scalars.walls, found.scalars.values)
    ours: dict[str, list[tuple[int, float, float]]] = {}
    for number, *point in zip(found.scalars.tag, *columns, strict=True):
        ours.setdefault(found.scalars.tags[number], []).append(tuple(point))
    assert ours == theirs


def test_scalars_of_newer_writers_and_those_that_are_no_numbers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.h"
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for step, value in enumerate([1.5, float("nan"), -2.0]):
            tensor = make_tensor_proto(np.float32(value))
            held = Summary(value=[Summary.Value(tag="train_loss", tensor=tensor)])
            writer.write(Event(wall_time=1.0, step=step, summary=held).SerializeToString())
        text = Summary(value=[Summary.Value(tag="note", tensor=make_tensor_proto("words"))])
        writer.write(Event(wall_time=1.0, step=9, summary=text).SerializeToString())
    found = read(path)
    assert found.scalars.tags == ("train_loss",)
    np.testing.assert_array_equal(found.scalars.values, [1.5, np.nan, -2.0])
    assert found.records == 4


def test_a_record_that_is_being_written_is_no_damage(tmp_path: Path) -> None:
    path = write_events(tmp_path, original(200))
    whole, (start, end) = read(path), records(path)[-1]
    data = path.read_bytes()
    for cut in (start + 3, start + 12, start + 20, end - 1):
        path.write_bytes(data[:cut])
        found = read(path)
        assert (found.lost_bytes, found.unfinished_bytes) == (0, cut - start)
        assert len(found.scalars.values) == len(whole.scalars.values) - 1


def test_a_damaged_record_is_passed_over_and_counted(tmp_path: Path) -> None:
    path = write_events(tmp_path, original(200))
    whole, (start, end) = len(read(path).scalars.values), records(path)[20]
    data = bytearray(path.read_bytes())
    data[start + 30] ^= 4
    path.write_bytes(data)
    found = read(path)
    assert (found.lost_bytes, found.unfinished_bytes) == (end - start, 0)
    assert len(found.scalars.values) == whole - 1


def test_behind_a_damaged_length_everything_is_lost_and_counted(tmp_path: Path) -> None:
    path = write_events(tmp_path, original(200))
    start, _ = records(path)[20]
    data = bytearray(path.read_bytes())
    data[start] ^= 4
    path.write_bytes(data)
    found = read(path)
    assert (found.records, found.lost_bytes) == (20, len(data) - start)


def test_a_flipped_bit_anywhere_is_told(tmp_path: Path) -> None:
    log = EventFile(tmp_path)
    for step in range(20):
        log.write(step, {"a": 1.0})
    log.close()
    (path,) = tmp_path.iterdir()
    whole, generator = path.read_bytes(), random.Random(0)
    assert read(path).records == 22
    for _ in range(200):
        data = bytearray(whole)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(data)
        found = read(path)
        assert found.records < 22
        assert found.lost_bytes + found.unfinished_bytes > 0


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=300), st.integers(0, 2000), st.booleans())
def test_arbitrary_bytes_give_a_result_or_an_input_error(
    tmp_path: Path, noise: bytes, place: int, whole: bool
) -> None:
    path = write_events(tmp_path, original(50))
    data = bytearray(path.read_bytes())
    data[place : place + len(noise)] = noise
    path.write_bytes(noise if whole else data)
    try:
        found = read(path)
    except InputError:
        return
    assert found.lost_bytes + found.unfinished_bytes <= len(path.read_bytes())


def test_files_of_a_resumed_run_join_at_the_first_step_of_the_later_one(tmp_path: Path) -> None:
    points = original(400)
    again = [(step, {tag: value + 100 for tag, value in s.items()}) for step, s in points]
    first = read(write_events(tmp_path / "a", points[:31]))
    second = [points[0], *again[21:]]
    later = read(write_events(tmp_path / "b", second, began=FIRST_WALL + 500))
    joined = join([later, first])
    loss = joined.series["train_loss_step"]
    assert loss.steps.tolist() == list(range(10, 401, 10))
    assert (loss.values[:20] < 100).all()
    assert (loss.values[20:] > 100).all()
    assert not joined.restarted
    assert loss.seconds[-1] == pytest.approx(540.0)


def test_a_resumption_says_itself_where_it_begins(tmp_path: Path) -> None:
    first = read(write_events(tmp_path / "a", original(400)))
    points = [(step, s) for step, s in original(400) if step >= 350]
    later = write_events(tmp_path / "b", points, began=FIRST_WALL + 90, start_step=311)
    joined = join([first, read(later)])
    steps = joined.series["train_loss_step"].steps
    assert steps[(steps > 300) & (steps < 370)].tolist() == [310, 350, 360]


def test_a_test_after_training_replaces_nothing(tmp_path: Path) -> None:
    first = read(write_events(tmp_path / "a", original(400)))
    tested = [(0, {"hp_metric": -1.0}), (400, {"test_auc": 0.8, "epoch": 4.0})]
    later = read(write_events(tmp_path / "b", tested, began=FIRST_WALL + 90))
    joined = join([first, later])
    assert joined.replaced == 0
    assert joined.series["val_loss"].steps[-1] == 400
    assert joined.series["test_auc"].values.tolist() == [pytest.approx(0.8)]


def test_a_training_that_began_anew_in_the_same_folder_is_told(tmp_path: Path) -> None:
    first = read(write_events(tmp_path / "a", original(400)))
    later = read(write_events(tmp_path / "b", original(100), began=FIRST_WALL + 90))
    joined = join([first, later])
    assert joined.restarted
    assert joined.series["train_loss_step"].steps[-1] == 100


def test_reading_needs_no_torch() -> None:
    names = "setvae_cli.reports.events, setvae_cli.reports.curves.write"
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
