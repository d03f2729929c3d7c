"""What a check leaves in the logs: finite numbers, and plain values."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from setvae_cli.monitor.actions import Action
from setvae_cli.monitor.check import Check, LevelCheck
from setvae_cli.monitor.groups import Interval
from setvae_cli.monitor.legacy import legacy
from setvae_cli.monitor.measures import LevelMeasures, Measures
from setvae_cli.monitor.record import action_record, scalars, verdict_record
from setvae_cli.monitor.verdict import Judge
from setvae_cli.runs.metrics_log import MetricsLog
from tests.monitor.known import RECON, case, measured


@pytest.fixture(scope="module")
def level() -> LevelMeasures:
    return measured(case("healthy", 4), seed=0)


def test_every_figure_has_the_tag_that_the_module_names(level: LevelMeasures) -> None:
    found = scalars(Measures((level,), None, legacy([level], RECON)), "val")
    names = ("kl", "floor", "latent", "active_units", "used_units", "collapsed_units", "variance",
             "information", "information_high", "bracket_low", "bracket_high", "shift",
             "decoder_gap", "decoder_gap_low", "decoder_gap_high")  # fmt: skip
    old = ("kl_divergence", "variance", "active_units", "reconstruction_loss")
    assert set(found) == {f"val_{name}_level_1" for name in names} | {
        f"legacy/val_{name}" for name in old
    }


def test_a_figure_that_is_not_known_has_no_entry(level: LevelMeasures) -> None:
    unknown = replace(level, information=None, bracket=None, decoder_gap=None, kl=math.nan)
    found = scalars(Measures((unknown,), None, {"variance": math.inf}), "train")
    assert all(math.isfinite(value) for value in found.values())
    absent = ("information", "bracket_low", "decoder_gap", "kl")
    assert not {f"train_{name}_level_1" for name in absent} & set(found)
    assert "legacy/train_variance" not in found


def test_a_bound_that_is_no_number_does_not_pass_for_a_small_one(level: LevelMeasures) -> None:
    dead = measured(case("collapsed", 4), seed=0)
    broken = replace(dead, information=Interval(math.nan, math.nan, math.nan), decoder_gap=None)
    judge = Judge()
    for step in range(5):
        check = Check.of([broken], step=step, planned=5, beta=1.0, target=1.0)
        (verdict,) = judge.observe(check)
    assert verdict.state != "collapsed"


def test_events_are_plain_values_that_the_log_takes(level: LevelMeasures, tmp_path) -> None:
    check = Check(1, False, (LevelCheck.of(level),))
    (verdict,) = Judge().observe(check)
    action = Action("lower-beta", 3, (1, 2), {"max_beta": 0.2}, "Changed.")
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for record in (verdict_record(verdict, "val"), action_record(action)):
        log.write({"step": 1, "epoch": 1, **record})
    assert action_record(action)["levels"] == "1,2"
    assert action_record(action)["new_max_beta"] == 0.2
