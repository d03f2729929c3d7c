"""What `--on-collapse` asks for, and that nothing is asked twice or forgotten in a resume."""

from __future__ import annotations

import pytest

from setvae_cli.monitor.actions import Actions
from setvae_cli.monitor.check import Check
from setvae_cli.monitor.verdict import Judge
from setvae_cli.settings.objective import ObjectiveSettings
from tests.monitor.test_verdict import DEAD, GOOD

OBJECTIVE = ObjectiveSettings(max_beta=0.4, free_bits=0.0)


def asked(kind, checks):
    going, actions = Judge(), Actions(kind)
    found = []
    for step, level in enumerate(checks):
        objective = actions.objective(OBJECTIVE)
        action = actions.ask(going.observe(Check(step, False, (level,))), objective)
        found += [action] if action else []
        actions = Actions.from_state(actions.state(), kind)
    return found, actions


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("warn", {}, "Nothing was changed (--on-collapse warn)."),
        ("checkpoint", {}, "A checkpoint was asked for (--on-collapse checkpoint)."),
        ("stop", {}, "The run ends here (--on-collapse stop)."),
        (
            "lower-beta",
            {"max_beta": 0.2},
            "Changed: max_beta 0.4 -> 0.2 (--on-collapse lower-beta).",
        ),
        (
            "free-bits",
            {"free_bits": 0.25},
            "Changed: free_bits 0 -> 0.25 (--on-collapse free-bits).",
        ),
    ],
)
def test_a_collapse_asks_once_for_what_was_chosen(kind, changes, words) -> None:
    (action,), actions = asked(kind, [GOOD] * 3 + [DEAD] * 6)
    assert (action.step, action.levels, action.changes, action.words) == (5, (1,), changes, words)
    settings = actions.objective(OBJECTIVE)
    assert settings == OBJECTIVE.model_copy(update=changes)


def test_a_run_that_stays_collapsed_is_asked_to_change_again_nine_checks_later() -> None:
    found, actions = asked("lower-beta", [DEAD] * 21)
    assert [(action.step, action.changes["max_beta"]) for action in found] == [
        (2, 0.2),
        (11, 0.1),
        (20, 0.05),
    ]
    assert actions.objective(OBJECTIVE).max_beta == 0.05


def test_a_warning_is_not_repeated() -> None:
    assert len(asked("warn", [DEAD] * 40)[0]) == 1


def test_a_second_collapse_asks_again() -> None:
    assert len(asked("checkpoint", [DEAD] * 3 + [GOOD] * 3 + [DEAD] * 3)[0]) == 2


def test_free_bits_double_up_to_a_limit() -> None:
    found, _ = asked("free-bits", [DEAD] * 60)
    assert [action.changes["free_bits"] for action in found] == [0.25, 0.5, 1, 2]


def test_a_healthy_run_is_asked_nothing() -> None:
    assert asked("stop", [GOOD] * 20)[0] == []


def test_a_run_that_was_stopped_goes_on_when_its_objective_is_given_anew() -> None:
    _, actions = asked("stop", [DEAD] * 3)
    assert actions.stops
    assert not Actions.from_state(actions.state(), "warn").stops
    actions.forget("max_beta")
    assert not actions.stops
    assert not Actions.from_state(actions.state(), "stop").stops
