"""Runs with the monitor: its verdict wins, its figures are drawn, its events are listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from setvae_cli.monitor.legacy import CAVEATS
from setvae_cli.reports.curves.chart import MOST_POINTS, content
from setvae_cli.reports.curves.collapse import collapse
from setvae_cli.reports.curves.draw import draw
from setvae_cli.reports.curves.levels import level_rows, levels_of
from setvae_cli.reports.curves.marks import MOST_MARKS, footnotes, marks_of
from setvae_cli.reports.curves.page import as_page
from setvae_cli.reports.curves.read import read_run
from setvae_cli.reports.curves.series import Curves, Series
from setvae_cli.reports.curves.text import as_text, judge
from setvae_cli.reports.curves.told import Verdict, events_of, shown, standing
from setvae_cli.runs.metrics_log import MetricsLog
from setvae_cli.runs.settings_file import write_settings
from tests.reports.logs import original, write_events
from tests.reports.monitored import (
    Course,
    collapsing,
    healthy,
    with_the_original_s_numbers,
    write_run,
)


def run_of(tmp_path: Path, *courses: Course, **options: object) -> Curves:
    return read_run(write_run(tmp_path / "run", courses or (healthy,), **options))


def test_the_verdict_on_validation_wins_over_the_kl(tmp_path: Path) -> None:
    found = collapse(run_of(tmp_path, collapsing))
    assert found.state == "found"
    assert "level 1 collapsed since step 1 700 (active < 2 %" in found.finding
    assert "active 0 / 32, KL 0.03 nats, information <= 0.03 nat" in found.finding
    assert "--free-bits 0.25" in found.mend
    assert "KL ends" not in found.finding


def test_a_healthy_verdict_is_clear_though_beta_may_rise_again(tmp_path: Path) -> None:
    found = collapse(run_of(tmp_path))
    assert (found.state, found.mend) == ("clear", "")
    assert "level 1 healthy since step" in found.finding


def test_of_several_levels_the_one_in_trouble_decides_and_stands_first(tmp_path: Path) -> None:
    found = collapse(run_of(tmp_path, healthy, collapsing))
    assert found.state == "found"
    assert found.finding.startswith("level 2 collapsed")
    assert "; level 1 healthy" in found.finding


def test_a_log_that_ends_before_a_verdict_says_so(tmp_path: Path) -> None:
    found = collapse(run_of(tmp_path, steps=600, checks=1))
    assert found.state == "unknown"
    assert found.finding.startswith("the log ends before a verdict of the monitor, at step 600")
    assert "beta is below its target" in found.finding


def test_a_log_that_ends_before_a_verdict_is_judged_by_a_kl_of_nothing(tmp_path: Path) -> None:
    run = run_of(tmp_path, steps=600, checks=1)
    assert standing(run.events)[0].state == "warming"
    flat = np.full(5, 0.2)
    steps = np.arange(100, 600, 100)
    beta, kl = (Series(steps, value, flat, flat) for value in (flat, flat / 10))
    run = replace(run, series={"train_beta_step": beta, "val_kl": kl})
    found = collapse(run)
    assert (found.state, bool(found.mend)) == ("found", True)
    assert found.finding.startswith("the log ends before a verdict of the monitor, at step 500")
    assert "KL ends at 0.02 nats a set: the latents tell nothing" in found.finding


def test_where_validation_gave_no_verdict_that_of_training_batches_is_marked(
    tmp_path: Path,
) -> None:
    run = run_of(tmp_path, steps=600, checks=1)
    told = {"event": "verdict", "split": "train", "level": 1, "state": "collapsed", "since": 10,
            "rule": "active < 2 %", "figures": "active 0 / 32", "try": "", "notes": "",
            "step": 500}  # fmt: skip
    events = (*run.events, *events_of([told]))
    assert [event.short for event in shown(events)] == ["level 1 collapsed in training"]


def test_event_files_alone_hold_figures_and_no_verdict(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    run = read_run(folder)
    assert levels_of(run) == (1,)
    assert run.events == ()
    found = collapse(run)
    assert found.state == "unknown"
    assert found.finding.startswith("the log ends before a verdict of the monitor; KL ends")


def test_without_the_monitor_the_kl_is_read_and_shows_no_health(tmp_path: Path) -> None:
    found = collapse(run_of(tmp_path, monitored=False))
    assert found.state == "unknown"
    assert found.finding.startswith("KL ends at 17.4 nats a set, and a KL shows no health")


def test_where_the_log_is_damaged_the_verdicts_before_that_are_kept(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [collapsing])
    path = folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step":1800', b'"step":1801', 1))
    run = read_run(folder)
    assert run.steps == 3000
    assert standing(run.events)[0].state == "shrinking"
    assert any("cannot be read" in note for note in run.notes)


def test_a_verdict_on_training_batches_is_listed_and_never_decides(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    told = {"event": "verdict", "split": "train", "level": 1, "state": "collapsed", "since": 10,
            "rule": "active < 2 %", "figures": "active 0 / 32", "try": "",
            "notes": ""}  # fmt: skip
    log = MetricsLog(folder / "metrics.jsonl")
    log.write({"step": 3000, "epoch": 7, "seconds": 430.0, **told})
    log.close()
    run = read_run(folder)
    assert collapse(run).state == "clear"
    assert all(event.split == "val" for event in shown(run.events) if isinstance(event, Verdict))
    assert "active 0 / 32, in training batches" in " ".join(as_text([judge(run)]).split())


@pytest.mark.parametrize(
    "record",
    [
        {"step": 1, "event": "verdict", "split": "val"},
        {"step": 1, "event": "verdict", "level": "one"},
        {"step": 1, "event": "else"},
        {"step": 1, "event": 3},
    ],
)
def test_an_event_that_lacks_a_part_is_passed_over(record: dict[str, object]) -> None:
    assert events_of([record]) == ()


def test_events_are_no_curves(tmp_path: Path) -> None:
    run = run_of(tmp_path, collapsing, action="lower-beta")
    assert {"level", "since", "new_max_beta"}.isdisjoint(run.series)


def test_the_summary_tells_how_the_figures_of_each_level_end(tmp_path: Path) -> None:
    rows = {name: (value, reading) for name, value, reading in level_rows(run_of(tmp_path))}
    assert rows["Level 1, active units"] == ("29 / 32", "")
    assert rows["Level 1, KL"] == ("17.4 nats a set", "floor of free bits 1.6")
    assert rows["Level 1, information"] == (
        "<= 10.1 nats (upper end 11.2)",
        "minibatch bracket 5.2 to 5.5",
    )
    assert rows["Level 1, decoder gap"] == (
        "5.8 nats a set [4.62, 6.98]",
        "the decoder uses the latents",
    )


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.02, 0.02, "covers 0"),
        (0.0014, 0.0017, "next to nothing"),
        (0.2, 0.4, "the decoder uses the latents"),
    ],
)
def test_a_significant_gap_next_to_nothing_is_no_use(low: float, high: float, word: str) -> None:
    ends = {"": (low + high) / 2, "_low": low, "_high": high}
    one = np.ones(1)
    held = {
        f"val_decoder_gap{part}_level_1": Series(np.array([9]), value * one, one, one)
        for part, value in ends.items()
    }
    ((_, _, reading),) = level_rows(Curves("run", held))
    assert word in reading


def test_free_bits_stand_beside_the_kl_also_where_the_monitor_was_off(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", monitored=False)
    assert read_run(folder).floor is None
    write_settings(folder / "settings.yaml", {"free_bits": 0.1, "latent_dim": 64, "levels": 2})
    assert read_run(folder).floor == pytest.approx(12.8)
    assert "floor of free bits 12.8" in " ".join(as_text([judge(read_run(folder))]).split())


def test_the_logged_floor_of_all_levels_counts_before_the_settings(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [healthy, healthy])
    write_settings(folder / "settings.yaml", {"free_bits": 9.0, "latent_dim": 64, "levels": 2})
    assert read_run(folder).floor == pytest.approx(3.2)


def test_changes_and_actions_are_marked_and_explained(tmp_path: Path) -> None:
    run = run_of(tmp_path, collapsing, action="lower-beta")
    assert footnotes(marks_of([run])) == [
        "A step 800: level 1 healthy",
        "B step 1 600: level 1 shrinking",
        "C step 1 900: level 1 collapsed, --on-collapse lower-beta",
        "D step 2 800: --on-collapse lower-beta",
    ]
    compared = footnotes(marks_of([run, replace(run, name="other")]))
    assert compared[:2] == [
        "A step 800: level 1 healthy (run)",
        "B step 800: level 1 healthy (other)",
    ]


def test_of_many_marks_the_first_and_the_last_are_kept() -> None:
    told = Verdict(0, "val", 1, "partial", "r", "f", 0, "", "")
    run = Curves("run", {}, events=tuple(replace(told, step=step) for step in range(1, 100)))
    steps = [mark.step for mark in marks_of([run])]
    assert steps == [1, 2, 3, 4, 5, 6, 94, 95, 96, 97, 98, 99]
    assert len(steps) == MOST_MARKS


def pictures(*runs: Curves) -> Sequence[str]:
    return [picture.name for picture in draw(runs)]


@pytest.mark.slow
def test_the_use_of_latents_is_drawn_where_it_was_logged(tmp_path: Path) -> None:
    ours = run_of(tmp_path, healthy, collapsing)
    plain = read_run(write_run(tmp_path / "plain", monitored=False))
    write_events(tmp_path / "old", with_the_original_s_numbers(original(1000, kl=40)))
    old = read_run(tmp_path / "old")
    write_events(tmp_path / "bare", original(300))
    bare = read_run(tmp_path / "bare")
    assert "latent_use" in pictures(ours)
    assert "latent_use" not in pictures(plain)
    assert "latent_use" in pictures(old)
    assert "latent_use" not in pictures(bare)
    assert "latent_use" in pictures(bare, ours, old, plain)


@pytest.mark.slow
def test_the_original_s_numbers_carry_their_caveat_in_the_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    said: list[str] = []
    real = Axes.text
    monkeypatch.setattr(Axes, "text", lambda *a, **k: (said.append(a[3]), real(*a, **k))[1])
    write_events(tmp_path / "old", with_the_original_s_numbers(original(1000, kl=40)))
    draw([read_run(tmp_path / "old")])
    words = {" ".join(text.split()) for text in said}
    assert {CAVEATS["variance"], CAVEATS["active_units"]} <= words


def test_the_chart_holds_few_points_and_keeps_extremes(tmp_path: Path) -> None:
    run = run_of(tmp_path, steps=20_000)
    found = content([run])
    names = [group["name"] for group in found["groups"]]
    assert {"Loss", "AUROC", "Active units", "Decoder gap"} <= set(names)
    for group in found["groups"]:
        for curve in group["curves"]:
            assert len(curve["x"]) == len(curve["y"]) <= MOST_POINTS
    loss = found["groups"][0]["curves"][0]
    assert max(loss["y"]) == pytest.approx(run.series["train_loss_step"].values.max(), rel=1e-4)
    assert [mark["letter"] for mark in found["marks"]] == ["A"]


@pytest.mark.slow
def test_events_and_marks_stand_on_the_page_and_names_end_no_script(tmp_path: Path) -> None:
    run = replace(run_of(tmp_path, collapsing), name="</script><script>alert(1)</script>")
    page = as_page([judge(run)], draw([run]))
    assert page.count("<script") == 2
    assert "What the monitor said, and what was done" in page
    assert "level 1 shrinking since step 1 400" in page
