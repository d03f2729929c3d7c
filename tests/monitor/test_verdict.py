"""Known truths are called by their names, and a verdict takes three checks in a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from setvae_cli.monitor.check import Check, LevelCheck
from setvae_cli.monitor.legacy import CAVEATS, legacy
from setvae_cli.monitor.verdict import Judge, Verdict, judge
from tests.monitor.known import RECON, case, measured

SEEDS = range(5)
FEW = pytest.param(range(2), id="two seeds")
MANY = pytest.param(range(2, 5), id="more seeds", marks=pytest.mark.slow)
GOOD = LevelCheck(1, 32, 30, 0, 10_000, 20.0, 12.0, 0.5, 5.0, False)
DEAD = replace(GOOD, active=0, kl=0.01, information=0.02, gaussian_kl=0.0, decoder_gap=0.0)
DEAD = replace(DEAD, decoder_silent=True)


def run(checks: Sequence[LevelCheck], first: int = 100, warming: int = 0) -> list[Verdict]:
    """The verdict on a level after each check, a hundred steps apart."""
    going, found = Judge(), []
    for number, level in enumerate(checks):
        check = Check(first + 100 * number, number < warming, (level,))
        found += going.observe(check)
    return found


def verdict_on(name: str, d: int, seed: int, before: str | None = None) -> Verdict:
    """After four checks of a case, four of another one before it; each check sees fresh sets."""
    truths = [before] * 4 * (before is not None) + [name] * 4
    levels = [
        LevelCheck.of(measured(case(truth, d), seed=100 * seed + number))
        for number, truth in enumerate(truths)
    ]
    return run(levels)[-1]


EXPECTED = {
    "healthy": ("healthy", []),
    "collapsed": ("collapsed", []),
    "constant shifted mean": ("collapsed", ["shifted"]),
    "over-sharp": ("healthy", ["over-sharp"]),
    "dead lower level": ("collapsed", []),
    "decoder ignores z": ("partial", []),
    "half collapsed": ("healthy", ["spare capacity"]),  # never had more, and uses it
}


@pytest.mark.parametrize("seeds", [FEW, MANY])
@pytest.mark.parametrize("d", [8, 32])
@pytest.mark.parametrize("name", EXPECTED)
def test_no_known_truth_is_called_wrongly(name: str, d: int, seeds: range) -> None:
    for seed in seeds:
        found = verdict_on(name, d, seed)
        assert (found.state, [note.name for note in found.notes]) == EXPECTED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_no_known_truth_is_called_wrongly_with_256_latents(name: str) -> None:
    for seed in SEEDS[:2]:
        level = LevelCheck.of(measured(case(name, 256), seed=seed, subjects=860))
        found = run([level] * 3)[-1]
        assert (found.state, [note.name for note in found.notes]) == EXPECTED[name]


@pytest.mark.parametrize("d", [8, 32])
def test_losing_half_of_the_latents_is_shrinking_then_partial(d: int) -> None:
    assert verdict_on("half collapsed", d, 0, before="healthy").state == "shrinking"
    alive = LevelCheck.of(measured(case("healthy", d), seed=1))
    half = LevelCheck.of(measured(case("half collapsed", d), seed=2))
    going = Judge(window=4)
    for number, level in enumerate([alive] * 4 + [half] * 10):
        (found,) = going.observe(Check(number, False, (level,)))
    assert (found.state, found.since) == ("partial", 4)


def test_a_dead_lower_level_does_not_hide_behind_a_living_one() -> None:
    for seed in SEEDS:
        levels = (
            LevelCheck.of(measured(case("dead lower level", 8), seed=seed)),
            LevelCheck.of(measured(case("healthy", 8), seed=seed, level=2)),
        )
        found = judge([Check(step, False, levels) for step in range(4)])
        assert [(each.level, each.state) for each in found] == [(1, "collapsed"), (2, "healthy")]


@pytest.mark.parametrize(
    ("name", "misled", "truth"),
    [
        ("collapsed", lambda old: old["variance"] > 0.9 and old["active_units"] == 1, "collapsed"),
        ("sharp", lambda old: old["variance"] < 0.1 and old["active_units"] == 0, "healthy"),
        ("constant shifted mean", lambda old: old["kl_divergence"] > 100, "collapsed"),
    ],
)
def test_the_old_numbers_mislead_where_the_verdict_does_not(
    name: str, misled: Callable[[dict[str, float]], bool], truth: str
) -> None:
    level = measured(case(name, 64), seed=0)
    old = legacy([level], RECON)
    assert misled(old)
    assert set(old) == set(CAVEATS)
    assert run([LevelCheck.of(level)] * 3)[-1].state == truth


def test_a_verdict_takes_three_checks_in_a_row_and_names_the_first() -> None:
    found = run([GOOD, GOOD, GOOD, DEAD, DEAD, GOOD, DEAD, DEAD, DEAD])
    assert [each.state for each in found] == ["warming"] * 2 + ["healthy"] * 6 + ["collapsed"]
    assert [each.changed for each in found] == [True, False, True] + [False] * 5 + [True]
    assert found[-1].since == 700
    assert "active < 2 %, information < 0.1 nat, decoder gap about 0, 3 checks" in found[-1].rule
    assert found[-1].figures == (
        "active 0 / 32, KL 0.01 nats, information <= 0.02 nat, decoder gap 0.00"
    )
    assert "--max-beta" in found[-1].try_next


def test_a_verdict_goes_back_after_three_good_checks() -> None:
    states = [each.state for each in run([DEAD] * 4 + [GOOD] * 3)]
    assert states == ["warming"] * 2 + ["collapsed"] * 4 + ["healthy"]


def test_nothing_is_judged_while_beta_rises_nor_are_its_checks_counted() -> None:
    found = run([DEAD] * 7, warming=4)
    assert [each.state for each in found] == ["warming"] * 6 + ["collapsed"]
    assert found[-1].since == 500


def test_warming_ends_at_30_percent_of_the_run_at_the_latest() -> None:
    level = measured(case("healthy", 8), seed=0)
    early, late, full = (
        Check.of([level], step=step, planned=1000, beta=beta, target=0.3)
        for step, beta in ((299, 0.1), (300, 0.1), (10, 0.3))
    )
    assert (early.warming, late.warming, full.warming) == (True, False, False)


def test_too_few_sets_change_nothing() -> None:
    few = replace(DEAD, sets=10 * DEAD.latent - 1)
    found = run([GOOD] * 3 + [few] * 5)
    assert found[-1].state == "healthy"
    assert found[-1].figures.startswith("active 30 / 32")


def test_collapsed_comes_before_shrinking_before_partial() -> None:
    falling = replace(GOOD, active=10)
    assert run([GOOD] * 3 + [DEAD] * 3)[-1].state == "collapsed"
    assert run([GOOD] * 3 + [falling] * 3)[-1].state == "shrinking"
    assert run([GOOD] * 3 + [falling] * 60)[-1].state == "partial"


def test_losing_one_unit_of_few_is_not_shrinking() -> None:
    small = replace(GOOD, latent=4, active=4)
    assert run([small] * 3 + [replace(small, active=3)] * 5)[-1].state == "healthy"


def test_latents_that_a_decoder_uses_are_not_called_collapsed() -> None:
    found = run([replace(DEAD, decoder_gap=3.0, decoder_silent=False)] * 4)
    assert found[-1].state == "partial"


def test_a_gap_that_was_not_measured_is_said() -> None:
    found = run([replace(DEAD, decoder_gap=None, decoder_silent=None)] * 3)
    assert found[-1].state == "collapsed"
    assert "decoder gap not measured" in found[-1].rule


def test_verdicts_go_on_from_a_state_as_if_never_stopped() -> None:
    checks = [Check(n, n < 2, (GOOD if n < 5 else DEAD,)) for n in range(12)]
    whole = [verdict for n in range(12) for verdict in judge(checks[: n + 1])]
    going = Judge()
    resumed: list[Verdict] = []
    for check in checks:
        going = Judge.from_state(going.state())
        resumed += going.observe(check)
    assert resumed == whole
