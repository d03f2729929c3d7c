"""What watch makes of a log: figures, the state told honestly, pictures that fit their terminal."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.errors import InputError
from setvae_cli.monitor import record as monitor_record
from setvae_cli.monitor.actions import Action
from setvae_cli.monitor.verdict import Note, Verdict
from setvae_cli.reports.watch.course import Course
from setvae_cli.reports.watch.find import run_at, runs_below
from setvae_cli.reports.watch.lines import in_ascii, text_of, width
from setvae_cli.reports.watch.listing import listing
from setvae_cli.reports.watch.picture import picture
from setvae_cli.reports.watch.plain import plain
from setvae_cli.reports.watch.plot import Curve, chart
from setvae_cli.reports.watch.run import Look, WatchedRun
from setvae_cli.reports.watch.series import MOST, Series
from setvae_cli.reports.watch.state import State
from tests.reports.watched import (
    LATENT,
    aged,
    append,
    check,
    ending,
    records,
    run_folder,
    verdict,
    write_log,
)

SIZES = [(160, None), (160, 50), (160, 24), (80, None), (80, 24), (80, 10), (60, 20), (40, 12)]


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., WatchedRun]:
    """`watched(records)`: a run that logged them."""

    def make(logged: list[Any], name: str = "version_0") -> WatchedRun:
        folder = run_folder(tmp_path / name)
        write_log(folder, logged)
        return WatchedRun(folder, f"outputs/seqsetvae/{name}")

    return make


def collapsed() -> list[Any]:
    """A run of two levels that has seen everything that can be warned of."""
    return [
        *records(400, levels=2, collapse_at=260),
        verdict(400, "collapsed"),
        verdict(400, "healthy", level=2),
        {"step": 400, "epoch": 4, "event": "action", "kind": "warn", "levels": "1",
         "words": "Nothing was changed (--on-collapse warn)."},
        *({"step": step, "epoch": 1, "val_auc_absent": "one class only"} for step in (100, 200)),
        {"step": 333, "epoch": 4, "seconds": 44, "skipped_steps": 1},
        {"step": 341, "epoch": 4, "seconds": 45, "skipped_steps": 2},
    ]  # fmt: skip


def text(look: Look, columns: int = 80, rows: int | None = None) -> str:
    return "\n".join(text_of(line) for line in picture(look, columns, rows))


@pytest.mark.parametrize(("columns", "rows"), SIZES)
@pytest.mark.parametrize("logged", [[], collapsed(), [*records(1000), ending(1000)]])
def test_a_picture_is_never_wider_or_higher_than_its_terminal(
    watched: Callable[..., WatchedRun], logged: list[Any], columns: int, rows: int | None
) -> None:
    lines = picture(watched(logged).look_whole(), columns, rows)
    assert max(map(width, lines)) <= columns
    assert rows is None or len(lines) <= rows
    assert all(letter.isprintable() for line in lines for letter in text_of(line))


def test_the_picture_has_one_column_at_80_and_two_at_160(
    watched: Callable[..., WatchedRun],
) -> None:
    look = watched(records(400)).look_whole()
    assert "loss   train" in text(look, 160)
    side_by_side = [line for line in text(look, 160).splitlines() if line.count("│") == 2]
    assert side_by_side
    assert not [line for line in text(look, 80).splitlines() if line.count("│") == 2]


def test_with_few_rows_state_posterior_warnings_and_the_loss_stay(
    watched: Callable[..., WatchedRun],
) -> None:
    shown = text(watched(collapsed()).look_whole(), 80, 24)
    assert "running, last record" in shown
    assert f"0 / {LATENT}" in shown
    assert "level 1 collapsed since step 380" in shown
    assert "try lower --max-beta" in shown
    assert "loss   train" in shown


def test_the_picture_shows_the_figures_that_were_logged(
    watched: Callable[..., WatchedRun],
) -> None:
    shown = " ".join(text(watched(records(400)).look_whole()).split())
    for figure in (
        "step 400 / 1 000 40.0 %", "epoch 4 / 10", "8 steps/s", "20 000 elements/s",
        "val AUC 0.810 (best 0.810 at step 400)", f"30 / {LATENT}", "<= 3.92", "[2.80, 3.50]",
        "5.25", "left 1:1", "warming",
    ):  # fmt: skip
        assert figure in shown, figure


def test_warnings_stand_with_their_steps_and_what_repeats_stands_once(
    watched: Callable[..., WatchedRun],
) -> None:
    shown = " ".join(text(watched(collapsed()).look_whole()).split())
    assert "step 400 level 1 collapsed since step 380: active < 2%" in shown
    assert "step 400 action: Nothing was changed" in shown
    assert "step 100 val_auc is absent: one class only (2 times until step 200)" in shown
    assert "step 333 steps skipped: 2 whose loss or gradient was not finite" in shown
    assert "level 2 healthy" not in shown


def test_a_level_that_recovers_is_told_once(watched: Callable[..., WatchedRun]) -> None:
    run = watched([*records(100), verdict(100, "collapsed"), verdict(300, "healthy")])
    (_, back) = run.look_whole().course.notices.all
    assert (back.what, back.told, back.bad) == ("level 1 healthy", "again", False)


def test_a_finished_run_shows_its_test_figures(watched: Callable[..., WatchedRun]) -> None:
    look = watched([*records(1000), ending(1000)]).look_whole()
    assert look.state.word == "finished"
    shown = " ".join(text(look).split())
    assert "Test split loss 14.20 KL 4.050 nats AUROC 0.853 AUPRC 0.504 accuracy 0.881" in shown
    assert " left " not in shown


def test_a_run_that_ended_for_a_collapse_says_so_until_it_goes_on(
    watched: Callable[..., WatchedRun],
) -> None:
    words = "The run ends here (--on-collapse stop)."
    stop = {"step": 400, "epoch": 4, "event": "action", "kind": "stop", "levels": "1"}
    run = [*records(400), verdict(400, "collapsed"), stop | {"words": words}, ending(400)]
    look = watched(run).look_whole()
    assert (look.state.word, look.state.ended) == ("stopped", True)
    assert "stopped at step 400" in text(look)
    resumed = watched([*run, *records(600)[len(records(400)) :], ending(600)], "version_1")
    assert resumed.look_whole().state.word == "finished"


def test_a_run_that_ended_before_a_verdict_says_why_there_is_none(
    watched: Callable[..., WatchedRun],
) -> None:
    waiting = verdict(100, "warming") | {"rule": "fewer than 3 checks since beta was full"}
    run = [*records(100), waiting, verdict(90, "collapsed", split="train")]
    going = " ".join(text(watched(run).look_whole()).split())
    assert "level 1 no verdict yet: fewer than 3 checks since beta was full" in going
    assert "the training window says collapsed" in going
    ended = watched([*run, ending(100)], "version_1").look_whole()
    shown = " ".join(text(ended).split())
    assert "level 1 the run ended before validation gave a verdict: fewer than 3" in shown
    (line,) = (text_of(one) for one in listing(".", [ended], 80)[2:])
    assert "not judged" in line


def test_a_run_that_goes_on_after_its_test_is_not_finished(
    watched: Callable[..., WatchedRun],
) -> None:
    look = watched([*records(100), ending(100), *records(200)[11:]]).look_whole()
    assert look.state.word == "running"
    assert look.course.test == {}


def test_without_a_scalar_nothing_is_drawn(watched: Callable[..., WatchedRun]) -> None:
    look = watched([]).look_whole()
    assert look.state.word == "waiting"
    assert text(look) == "outputs/seqsetvae/version_0   waits: nothing was logged yet"


@pytest.mark.parametrize(
    ("age", "word", "told"),
    [
        (3, "running", "running, last record 3 s ago"),
        (1000, "silent", "silent for 16 min; records were 1.0 s on average, 1.2 s at most apart"),
        (-600, "unclear", "whether it runs cannot be told yet"),
    ],
)
def test_the_state_follows_the_age_of_the_log(
    tmp_path: Path, age: float, word: str, told: str
) -> None:
    folder = run_folder(tmp_path / "run")
    written = write_log(folder, records(400)).stat().st_mtime
    look = WatchedRun(folder, "run", wall=lambda: written + age).look_whole()
    assert (look.state.word, look.state.told) == (word, told)


def test_a_clock_that_is_ahead_is_said(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    aged(write_log(folder, records(50)), -600)
    (note,) = WatchedRun(folder, "run").look_whole().notes
    assert note == "the log was written 9 min in the future: clocks differ"


@pytest.mark.parametrize("behind", [-600, 600])
def test_a_log_that_is_seen_to_grow_runs_whatever_the_clocks_say(
    tmp_path: Path, behind: float
) -> None:
    folder = run_folder(tmp_path / "run")
    path = write_log(folder, records(50))
    aged(path, behind)
    run = WatchedRun(folder, "run")
    run.look_whole()
    append(path, records(60)[5:])
    aged(path, behind)
    look = run.look_whole()
    assert (look.state.word, look.state.age is not None) == ("running", True)
    assert "clock" in look.notes[0]


@pytest.mark.parametrize(("kind", "word"), [("interrupted", "interrupted"), ("error", "error")])
def test_a_checkpoint_of_a_stop_tells_how_a_run_ended(tmp_path: Path, kind: str, word: str) -> None:
    folder = run_folder(tmp_path / "run")
    write_log(folder, records(100))
    (folder / "checkpoints" / f"{kind}_step=104_bs=4.ckpt").write_bytes(b"")
    look = WatchedRun(folder, "outputs/run").look_whole()
    assert (look.state.word, look.state.ended) == (word, True)
    assert "at step 104" in text(look)
    assert "go on with  setvae resume outputs/run" in text(look)


def test_a_run_that_was_resumed_after_a_stop_runs(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    path = write_log(folder, records(100))
    stop = folder / "checkpoints" / "interrupted_step=104_bs=4.ckpt"
    stop.write_bytes(b"")
    append(path, records(110)[12:])
    assert WatchedRun(folder, "run").look_whole().state.word == "running"


def test_a_stop_that_is_older_than_the_log_says_nothing(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    write_log(folder, records(100))
    stop = folder / "checkpoints" / "interrupted_step=104_bs=4.ckpt"
    stop.write_bytes(b"")
    aged(stop, 60)
    assert WatchedRun(folder, "run").look_whole().state.word == "running"


def test_between_training_and_test_figures_the_run_is_measuring(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    write_log(folder, records(100))
    (folder / "checkpoints" / "final_step=100_bs=4.ckpt").write_bytes(b"")
    assert WatchedRun(folder, "run").look_whole().state.word == "measuring"


def test_an_open_watch_follows_a_log_that_a_resume_cut(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    path = write_log(folder, records(400))
    run = WatchedRun(folder, "run")
    assert run.look_whole().course.step == 400
    path.unlink()
    write_log(folder, records(120))
    course = run.look_whole().course
    assert course.step == 120
    assert course.series["train_loss_step"].buckets[-1].last_step == 120


def test_a_log_that_goes_away_leaves_what_was_read_and_a_note(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    path = write_log(folder, records(50))
    run = WatchedRun(folder, "run")
    run.look_whole()
    os.rename(path, tmp_path / "elsewhere")
    look = run.look_whole()
    assert look.course.step == 50
    assert look.notes == ("metrics.jsonl cannot be read now: no such file or directory",)
    assert (look.state.word, look.seconds_left) == ("unclear", None)


def test_what_is_damaged_in_the_middle_is_noted(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    path = write_log(folder, records(50))
    data = bytearray(path.read_bytes())
    data[data.index(b'{"step":30') + 9] ^= 1
    path.write_bytes(data)
    look = WatchedRun(folder, "run").look_whole()
    assert look.course.step == 20
    assert look.notes[0].endswith("at the end of metrics.jsonl cannot be read")


def test_a_file_that_is_no_log_of_ours_is_refused(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "metrics.jsonl").write_text('{"loss": 1.0}\n')
    with pytest.raises(InputError, match=r"damaged from its start, or no log of setvae"):
        WatchedRun(folder, "run").look()


def test_what_the_monitor_writes_is_what_is_shown() -> None:
    note = Note("spare capacity", "at most 9 / 32 active since the start", 40, "a smaller one")
    said = Verdict(
        2, "collapsed", "active < 2%", "active 0 / 32", 60, 80, "lower --max-beta", (note,), True
    )
    done = Action("lower-beta", 80, (2,), {"max_beta": 0.15}, "Changed: max_beta 0.3 -> 0.15.")
    course = Course()
    for event in (monitor_record.verdict_record(said, "val"), monitor_record.action_record(done)):
        course.take({"step": 80, "epoch": 1, "seconds": 9.0, **event})
    told = {(one.what, one.told, one.try_next) for one in course.notices.all}
    assert told == {
        ("level 2 collapsed", "since step 60: active < 2%", "lower --max-beta"),
        ("level 2 spare capacity", "since step 40: at most 9 / 32 active since the start", ""),
        ("action", "Changed: max_beta 0.3 -> 0.15.", ""),
    }
    tags = (monitor_record.__doc__ or "").replace("<split>", "val").replace("<l>", "1")
    for tag in check(1, False).keys() - {"val_floor_level_1"}:
        base = tag.replace("_high_level", "_level").replace("bracket_level", "bracket_low_level")
        assert base in tags


@settings(deadline=None, max_examples=30)
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200),
    columns=st.integers(12, 120),
    rows=st.integers(2, 9),
)
def test_a_chart_is_as_large_as_it_was_asked_to_be(
    values: list[float], columns: int, rows: int
) -> None:
    series = Series()
    for step, value in enumerate(values):
        series.add(step, value)
    lines = chart([Curve("train", series, None)], columns, rows, steps=(0, len(values)))
    assert len(lines) == rows + 1
    assert max(map(width, lines[:-1])) <= columns
    assert any(0x2800 < ord(letter) < 0x2900 for line in lines for letter in text_of(line))


def test_a_million_values_keep_their_extremes_in_bounded_memory() -> None:
    series, noise = Series(), random.Random(0)
    for step in range(1_000_000):
        series.add(step, noise.gauss(0, 1))
    series.add(1_000_000, 99.0)
    assert len(series.buckets) <= MOST
    assert (series.highest, series.buckets[-1].high) == ((99.0, 1_000_000), 99.0)
    assert min(each.low for each in series.buckets) == (series.lowest or (0,))[0]
    assert series.buckets[0].first_step == 0
    assert series.last == 99.0


words = st.sampled_from(
    ["step", "epoch", "seconds", "event", "split", "level", "state", "since", "rule", "notes",
     "train_loss_step", "val_loss", "val_auc", "val_auc_absent", "planned_steps", "skipped_steps",
     "val_active_units_level_1", "val_latent_level_1", "val_bracket_low_level_1", "test_loss"]
)  # fmt: skip
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
    st.sampled_from(["verdict", "action", "collapsed", "val"]), st.lists(st.integers(), max_size=2),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.dictionaries(words, anything), max_size=9), st.integers(1, 200))
def test_whatever_a_log_holds_its_picture_fits_and_moves_no_cursor(
    written: list[dict[str, Any]], columns: int
) -> None:
    course = Course()
    for number, one in enumerate(written):
        course.take({"step": number, "epoch": 1, **one})
    look = Look("run", course, State("running", "running", 1.0), None, (), None)
    for line in [*picture(look, columns), *listing("outputs", [look], columns)]:
        assert width(line) <= columns
        assert text_of(line).isprintable()
    json.dumps(plain(look), allow_nan=False)


def test_plain_letters_are_as_wide_as_the_others(watched: Callable[..., WatchedRun]) -> None:
    for line in picture(watched(collapsed()).look_whole(), 80):
        assert text_of(in_ascii(line)).isascii()
        assert width(in_ascii(line)) == width(line)


@pytest.mark.parametrize("columns", [160, 120, 80, 60, 40])
def test_the_list_of_runs_fits_and_names_each_with_its_state(
    watched: Callable[..., WatchedRun], columns: int
) -> None:
    looks = [
        watched(collapsed(), "version_0").look_whole(),
        watched([*records(1000), ending(1000)], "version_1").look_whole(),
        watched([], "version_10").look_whole(),
    ]
    lines = listing("outputs", looks, columns)
    assert max(map(width, lines)) <= columns
    shown = "\n".join(map(text_of, lines))
    for word in ("version_0", "version_1", "version_10", "running", "finished", "waiting"):
        assert word in shown
    assert ("collapsed" in shown) == (columns > 40)
    short = listing("outputs", looks, columns, 5)
    assert [len(short), text_of(short[-1])] == [5, "and 1 more"]
    assert "running" in text_of(short[2]) + text_of(short[3])


def test_while_a_long_log_is_read_nothing_is_said_of_its_run(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    path = write_log(folder, records(5000))
    path.write_bytes(path.read_bytes() * 30)
    (folder / "checkpoints" / "interrupted_step=5000_bs=4.ckpt").write_bytes(b"")
    run = WatchedRun(folder, "run")
    look = run.look()
    assert re.match(r"run   reading the log, \d+%\n", text(look))
    assert "reading" in text_of(listing("outputs", [look], 80)[-1])
    assert "interrupted at step 5 000" in text(run.look_whole())


def test_plain_values_hold_what_the_picture_shows(watched: Callable[..., WatchedRun]) -> None:
    found = plain(watched(collapsed()).look_whole())
    assert (found["state"], found["step"], found["planned_steps"]) == ("running", 400, 1000)
    assert found["latest"]["val_active_units_level_1"] == 0
    assert found["steps_per_s"] == pytest.approx(8)
    assert found["elements_per_s"] == pytest.approx(20_000)
    assert {one["what"] for one in found["warnings"]} >= {"action", "level 1 collapsed"}


def test_a_run_is_named_by_its_folder_or_by_a_checkpoint(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "outputs" / "a" / "version_0")
    write_log(folder, [])
    checkpoint = folder / "checkpoints" / "last.ckpt"
    checkpoint.write_bytes(b"")
    assert run_at(folder) == run_at(checkpoint) == folder
    assert run_at(tmp_path / "outputs") is None


def test_runs_below_a_folder_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("b/version_10", "b/version_2", "a/version_0", "a/version_0/abandoned/0"):
        (tmp_path / name).mkdir(parents=True)
        write_log(tmp_path / name, [])
    found = [str(path.relative_to(tmp_path)) for path in runs_below(tmp_path)]
    assert found == ["a/version_0", "b/version_2", "b/version_10"]
