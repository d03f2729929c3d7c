"""The figure of the posterior: every situation draws, and its numbers are those measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from setvae_cli.monitor.bracket import Bracket
from setvae_cli.monitor.measures import HistoryUse, Measures
from setvae_cli.reports.latents.describe import verdicts
from setvae_cli.reports.posterior import nats_of, posterior_figure
from tests.monitor.known import case, measured
from tests.reports.latents.made import made

PNG = b"\x89PNG\r\n\x1a\n"


def found(name: str, *, levels: int = 1) -> Measures:
    return Measures(
        tuple(measured(case(name, 8), seed=0, level=number + 1) for number in range(levels)),
        HistoryUse(0.2, None),
        {},
    )


@pytest.mark.parametrize(
    "name", ["healthy", "collapsed", "constant shifted mean", "over-sharp", "dead lower level"]
)
def test_every_situation_draws(name: str) -> None:
    measures = found(name)
    drawn = posterior_figure(measures, title="Posterior", footer="a · b", verdicts=())
    assert drawn.startswith(PNG)


def test_equal_measures_give_equal_bytes() -> None:
    first, second = (
        posterior_figure(found("healthy", levels=2), title="Posterior", footer="") for _ in "ab"
    )
    assert first == second


def test_a_level_without_bounds_draws_what_there_is() -> None:
    (level,) = found("healthy").levels
    bare = replace(level, information=None, gaussian_kl=None, bracket=None, decoder_gap=None)
    measures = Measures((bare,), None, {})
    assert [row[0] for row in nats_of(bare, measures)] == ["KL, raw"]
    assert posterior_figure(measures, title="Posterior", footer="").startswith(PNG)


def test_numbers_that_are_not_finite_still_draw() -> None:
    (level,) = found("healthy").levels
    torn = replace(level.dimensions, kl=[math.nan, math.inf, *level.dimensions.kl[2:]])
    measures = Measures((replace(level, kl=math.inf, dimensions=torn),), None, {})
    assert posterior_figure(measures, title="Posterior", footer="").startswith(PNG)


def test_a_bracket_is_two_bounds_and_no_number() -> None:
    (level,) = found("healthy").levels
    held = replace(level, bracket=Bracket(2.0, 3.0, 300))
    (row,) = (row for row in nats_of(held, Measures((held,), None, {})) if "bracket" in row[0])
    assert math.isnan(row[1])
    assert row[2:] == (2.0, 3.0)


@pytest.mark.parametrize(
    ("name", "state"),
    [("healthy", "healthy"), ("collapsed", "collapsed"), ("decoder ignores z", "partial")],
)
def test_one_check_has_the_verdict_of_the_rules(name: str, state: str) -> None:
    (verdict,) = verdicts(replace(made(), measures=found(name)))
    assert verdict.state == state


def test_too_few_sets_have_no_verdict() -> None:
    (level,) = found("collapsed").levels
    few = Measures((replace(level, sets=79),), None, {})
    assert verdicts(replace(made(), measures=few)) == ()
