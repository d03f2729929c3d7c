from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.store.format import Packed, read_shard, unpack, write_shard
from setvae_cli.store.pack import TEN_YEARS, keep_elements, pack_records
from tests.tiny import Event, records

MINUTES = st.integers(0, 30).map(float)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        MINUTES,
        st.sampled_from(["x", "y", "z"]),
        st.none() | st.floats(-1e6, 1e6, width=32),
    ),
    max_size=40,
)


def unpacked(packed: Packed, codes: tuple[str, ...]) -> list[tuple[int, float, str, str]]:
    """The events that packed arrays stand for, as text so that NaN equals NaN."""
    rows, sets = packed.row_offsets, packed.set_offsets
    return [
        (row, float(packed.positions[s, 0]), codes[packed.keys[e]], repr(float(packed.values[e])))
        for row in range(len(rows) - 1)
        for s in range(rows[row], rows[row + 1])
        for e in range(sets[s], sets[s + 1])
    ]


@given(EVENTS)
def test_packing_keeps_the_last_value_of_each_subject_minute_and_code(events: list[Event]) -> None:
    names = ["a", "b", "c"]
    wanted: dict[tuple[int, float, str], float | None] = {}
    for subject, minute, code, value in events:
        place = (names.index(subject), minute, code)
        if value is not None or wanted.get(place) is None:
            wanted[place] = value
    cleaned = pack_records(records(events, subjects=names))
    expected = [
        (*place, repr(float("nan") if value is None else float(np.float32(value + 0.0))))
        for place, value in sorted(wanted.items(), key=lambda item: item[0])
    ]
    assert unpacked(cleaned.packed, cleaned.codes) == expected
    assert cleaned.rows == len(events)
    assert sum(cleaned.drops.values()) == len(events) - len(expected)


@given(EVENTS)
@settings(max_examples=25)
def test_a_shard_reads_back_as_it_was_written(events: list[Event]) -> None:
    import tempfile

    packed = pack_records(records(events, subjects=["a", "b", "c"])).packed
    with tempfile.TemporaryDirectory() as folder:
        write_shard(Path(folder, "s.arrow"), packed)
        again = read_shard(Path(folder, "s.arrow"))
        for name in Packed.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(again, name), getattr(packed, name))
            assert not getattr(again, name).flags.writeable
            assert not getattr(again, name).flags.owndata


def test_the_bytes_of_a_shard_are_one_uncompressed_batch_without_nulls(tmp_path: Path) -> None:
    packed = pack_records(records([("a", 0, "x", 1.0), ("a", 0, "y", None)])).packed
    write_shard(tmp_path / "s.arrow", packed)
    with pa.memory_map(str(tmp_path / "s.arrow")) as file:
        reader = pa.ipc.open_file(file)
        column = reader.get_batch(0).column("sets")
        assert reader.num_record_batches == 1
    assert str(column.type) == (
        "list<item: struct<position: float not null, elements: list<item: struct<key: int32 "
        "not null, value: float not null> not null> not null> not null>"
    )
    assert column.to_pylist()[0][0]["elements"][0] == {"key": 0, "value": 1.0}


def test_a_slice_of_a_column_is_read_with_its_own_offsets(tmp_path: Path) -> None:
    events: list[Event] = [
        ("a", 0, "x", 1.0),
        ("a", 1, "x", 2.0),
        ("b", 0, "x", 3.0),
        ("c", 5, "x", 4.0),
    ]
    write_shard(tmp_path / "s.arrow", pack_records(records(events)).packed)
    with pa.memory_map(str(tmp_path / "s.arrow")) as file:
        column = pa.ipc.open_file(file).get_batch(0).column("sets")
    part = unpack(column.slice(1, 2))
    elements = part.set_offsets[part.row_offsets]
    assert part.values[elements[0] : elements[-1]].tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (("a", float("nan"), "x", 1.0), "missing time"),
        (("a", -1.0, "x", 1.0), "negative time"),
        (("a", TEN_YEARS + 1, "x", 1.0), "over ten years"),
        (("a", 1.0, "x", float("nan")), "not a number"),
        (("a", 1.0, "x", float("-inf")), "infinite value"),
        (("a", 1.0, "x", 1e300), "value out of float32 range"),
        (("a", 1.0, "", 1.0), "missing code"),
        (("a", 0.0, "x", 1.0), "exact duplicate"),
        (("a", 0.0, "x", 2.0), "conflicting duplicate, the last one kept"),
    ],
)
def test_a_row_that_cannot_be_used_is_dropped_and_counted(event: Event, reason: str) -> None:
    cleaned = pack_records(records([("a", 0.0, "x", 1.0), event]))
    assert cleaned.drops == {reason: 1}
    assert len(cleaned.packed.keys) == 1


def test_the_last_of_conflicting_values_is_kept() -> None:
    events = [("a", 0.0, "x", 1.0), ("a", 0.0, "x", 2.0), ("a", 0.0, "x", 3.0)]
    assert pack_records(records(events)).packed.values.tolist() == [3.0]


def test_long_stays_are_kept_when_asked_for() -> None:
    events: list[Event] = [("a", TEN_YEARS + 1, "x", 1.0)]
    assert len(pack_records(records(events), allow_long=True).packed.keys) == 1


def test_events_after_the_prediction_time_are_dropped() -> None:
    events: list[Event] = [("a", 1.0, "x", 1.0), ("a", 3.0, "x", 2.0), ("b", 9.0, "x", 3.0)]
    cleaned = pack_records(records(events, prediction_time=[2.0, None]))
    assert cleaned.drops == {"after the prediction time": 1}
    assert cleaned.packed.values.tolist() == [1.0, 3.0]


def test_subjects_out_of_time_order_are_sorted_and_counted() -> None:
    events: list[Event] = [("a", 5.0, "x", 1.0), ("a", 1.0, "x", 2.0), ("b", 1.0, "x", 3.0)]
    cleaned = pack_records(records(events))
    assert cleaned.unsorted == 1
    assert cleaned.packed.values.tolist() == [2.0, 1.0, 3.0]


def test_a_window_makes_one_set_and_lets_codes_repeat() -> None:
    events: list[Event] = [("a", 1.0, "x", 1.0), ("a", 59.0, "x", 2.0), ("a", 60.0, "x", 2.0),
                           ("a", 1.0, "x", 1.0)]  # fmt: skip
    cleaned = pack_records(records(events), set_window=60)
    assert cleaned.packed.positions[:, 0].tolist() == [0.0, 60.0]
    assert np.diff(cleaned.packed.set_offsets).tolist() == [2, 1]
    assert cleaned.drops == {"exact duplicate": 1}


@pytest.mark.parametrize("sets", [None, [1, 1, 1]])
def test_equal_values_at_different_minutes_of_one_set_are_all_kept(sets: list[int] | None) -> None:
    events: list[Event] = [("a", 1.0, "x", 1.0), ("a", 59.0, "x", 1.0), ("a", 59.0, "x", 1.0)]
    cleaned = pack_records(records(events, sets=sets), set_window=None if sets else 60)
    assert cleaned.packed.values.tolist() == [1.0, 1.0]
    assert np.diff(cleaned.packed.set_offsets).tolist() == [2]
    assert cleaned.drops == {"exact duplicate": 1}


def test_given_sets_stay_sets_at_their_first_time() -> None:
    events: list[Event] = [("a", 4.0, "x", 1.0), ("a", 1.0, "y", 2.0), ("a", 3.0, "x", 3.0)]
    cleaned = pack_records(records(events, sets=[7, 8, 7]))
    assert cleaned.packed.positions[:, 0].tolist() == [1.0, 3.0]
    assert np.diff(cleaned.packed.set_offsets).tolist() == [1, 2]


def test_a_fingerprint_depends_on_the_events_alone() -> None:
    first: list[Event] = [("a", 1.0, "x", 1.0), ("a", 2.0, "y", None)]
    second: list[Event] = [("b", 2.0, "y", None), ("b", 1.0, "x", 1.0), ("c", 1.0, "y", 1.0)]
    one, two = pack_records(records(first)), pack_records(records(second))
    assert one.fingerprints[0] == two.fingerprints[0] != two.fingerprints[1]


@given(st.lists(st.lists(st.integers(1, 4), max_size=4), min_size=1, max_size=5), st.randoms())
def test_left_out_elements_leave_no_empty_set(sizes: list[list[int]], random) -> None:
    rows = np.cumsum([0, *map(len, sizes)])
    sets = np.cumsum([0, *(size for row in sizes for size in row)])
    keep = np.array([random.random() < 0.5 for _ in range(sets[-1])], dtype=bool)
    new_rows, new_sets, filled = keep_elements(keep, rows, sets)
    assert (np.diff(new_sets) > 0).all()
    assert len(new_rows) == len(rows)
    assert new_sets[-1] == keep.sum()
    kept = [[int(keep[sets[s] : sets[s + 1]].sum()) for s in range(rows[r], rows[r + 1])]
            for r in range(len(sizes))]  # fmt: skip
    assert [int(n) for n in np.diff(new_sets)] == [n for row in kept for n in row if n]
    assert np.diff(new_rows).tolist() == [sum(n > 0 for n in row) for row in kept]
    assert filled.tolist() == [n > 0 for row in kept for n in row]
