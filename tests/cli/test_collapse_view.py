"""What a person sees of the watch: each collapse once, in 80 columns, with advice that fits."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.test_output import metric, result
from tests.monitor.known import case, measured

from setvae_cli.cli.advice import concrete
from setvae_cli.cli.collapse_view import CollapseView, closing_lines, warning_table
from setvae_cli.cli.output import Line, Output
from setvae_cli.cli.train import closing_table
from setvae_cli.cli.wrapped import wrapped
from setvae_cli.monitor import rules
from setvae_cli.monitor.actions import Actions
from setvae_cli.monitor.check import Check
from setvae_cli.monitor.measures import LevelMeasures, Measures
from setvae_cli.monitor.verdict import Judge
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.model import ModelSettings
from setvae_cli.settings.monitor import MonitorSettings, OnCollapse
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.training.records import Checked

MODEL, OBJECTIVE = ModelSettings(), ObjectiveSettings(max_beta=0.4)


@pytest.fixture(scope="module")
def good() -> LevelMeasures:
    return measured(case("healthy", 8), seed=0)


@pytest.fixture(scope="module")
def dead() -> LevelMeasures:
    return measured(case("collapsed", 8), seed=0)


@pytest.fixture(scope="module")
def half() -> LevelMeasures:
    return measured(case("half collapsed", 8), seed=0)


class Course:
    """Looks at a run one after the other, as its view gets them."""

    def __init__(self, kind: OnCollapse = "warn") -> None:
        self._judges = {"val": Judge(4), "train": Judge(4)}
        self._actions, self._step = Actions(kind), 0
        self.last: Checked | None = None

    def look(self, split: str, *levels: LevelMeasures) -> Checked:
        self._step += 100
        numbered = tuple(replace(one, level=n) for n, one in enumerate(levels, start=1))
        if split == "train":
            numbered = tuple(replace(one, decoder_gap=None) for one in numbered)
        check = Check.of(numbered, step=self._step, planned=10_000, beta=0.4, target=0.4)
        verdicts = self._judges[split].observe(check)
        objective, action = self._actions.objective(OBJECTIVE), None
        if split == "val":
            action = self._actions.ask(verdicts, objective)
            objective = self._actions.objective(OBJECTIVE)
        measures = Measures(numbered, None, {})
        self.last = Checked(self._step, 1, split, measures, verdicts, objective, action)  # type: ignore[arg-type]
        return self.last


def text_of(line: Line) -> str:
    return line if isinstance(line, str) else "".join(part for part, _ in line)


def shown(
    capsys: pytest.CaptureFixture[str],
    course: Course,
    looks: list[tuple[str, LevelMeasures]],
    *,
    quiet: bool = False,
) -> str:
    view = CollapseView(TrainSettings(), Output("train", quiet=quiet))
    for split, level in looks:
        view.show(course.look(split, level), Path("nowhere"), "run")
    return capsys.readouterr().err


def test_a_collapse_is_one_line_of_training_and_then_one_table_of_validation(
    capsys, good, half, dead
) -> None:
    looks = [(split, level) for level in (good, half, dead) for _ in range(6)
             for split in ("train", "train", "val")]  # fmt: skip
    said = shown(capsys, Course(), looks)
    assert said.count("Posterior collapse at step") == 1
    assert said.count("since") == 2  # heads of two tables: the first trouble, and the collapse
    assert said.count("early sign:") == 1
    assert "Nothing was changed (--on-collapse warn)." in said


def test_the_table_says_level_state_figures_rule_since_and_what_to_try(dead) -> None:
    course = Course()
    looks = [course.look("val", dead) for _ in range(3)]
    lines = [text_of(line) for line in warning_table(looks[-1], MODEL)]
    assert lines[0] == "Posterior collapse at step 300 (epoch 1)"
    assert lines[1] == "level  verdict    active    information   decoder gap  since"
    assert re.fullmatch(r"  1    collapsed  0 / 8     <= 0.0\d nat   -?0.0\d +100", lines[2])
    assert lines[3] == "rule: active < 2 %, information < 0.1 nat, decoder gap about 0, 3 checks"
    assert lines[4] == "try:  --max-beta 0.2, or --beta-schedule cyclical, or --free-bits 0.25"
    assert lines[5] == "Nothing was changed (--on-collapse warn)."
    assert len(lines) == 6


def test_no_line_is_wider_than_80_columns(capsys, good, dead) -> None:
    course, view = Course("lower-beta"), CollapseView(TrainSettings(), Output("train"))
    wide = replace(
        dead, dimensions=measured(case("collapsed", 256), seed=0, subjects=300).dimensions
    )
    for level in (good, dead, good):
        for _ in range(12):
            view.show(course.look("train", wide, level), Path("nowhere"), "run")
            view.show(course.look("val", wide, level), Path("nowhere"), "run")
    assert course.last is not None
    closing = [text_of(line) for line in view.closing(course.last.verdicts)]
    lines = capsys.readouterr().err.splitlines() + closing
    assert len(lines) > 10
    assert [line for line in lines if len(line) > 80] == []


def test_no_change_of_the_objective_goes_unsaid(capsys, dead) -> None:
    said = shown(capsys, Course("lower-beta"), [("val", dead)] * 21)
    assert "Changed: max_beta 0.4 -> 0.2 (--on-collapse lower-beta)." in said
    assert "Posterior still collapsed at step 1 200 (epoch 1): level 1, active 0 / 8" in said
    assert "Changed: max_beta 0.2 -> 0.1 (--on-collapse lower-beta)." in said
    assert "try:  --max-beta 0.1, or" in said  # half of what the run has from now on


def test_a_posterior_that_is_healthy_again_is_said_in_one_line(capsys, good, dead) -> None:
    said = shown(capsys, Course(), [("val", dead)] * 3 + [("val", good)] * 4)
    assert said.count("Posterior healthy again at step 600 (epoch 1)") == 1
    assert said.count("Posterior collapse") == 1


def test_a_healthy_run_is_told_nothing(capsys, good) -> None:
    assert shown(capsys, Course(), [("train", good), ("val", good)] * 10) == ""


def test_quiet_says_nothing(capsys, dead) -> None:
    assert shown(capsys, Course(), [("val", dead)] * 4, quiet=True) == ""


def test_a_run_with_too_few_checks_is_told_why_it_was_not_judged(good) -> None:
    verdicts = Course().look("val", good).verdicts
    assert [text_of(line) for line in closing_lines(verdicts, OBJECTIVE, MODEL)] == [
        "posterior   not judged: fewer than 3 checks since beta was full"
    ]
    few = replace(good, sets=12)
    verdicts = Course().look("val", few, few).verdicts
    assert [text_of(line) for line in closing_lines(verdicts, OBJECTIVE, MODEL)] == [
        "posterior   not judged: 12 sets are too few to judge 8 latent numbers by"
    ]
    ended = result(metric("auroc", 0.8))
    ended = replace(ended, posterior=(replace(ended.posterior[0], verdict="warming"),))
    assert closing_table(ended)[2].endswith("58 / 64    not judged")


def options_in(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", text))


def test_every_option_that_advice_names_exists(here) -> None:
    known = options_in(here("train", "--help").stdout)
    named = options_in(" ".join(rules.TRY.values()))
    assert named
    assert named <= known


def _words(**objective: object) -> ObjectiveSettings:
    return ObjectiveSettings.model_validate(objective)


@pytest.mark.parametrize(
    ("state", "objective", "bottleneck", "said"),
    [
        ("collapsed", _words(beta_schedule="cyclical", free_bits=0.25), False,
         "--max-beta 0.15, or --free-bits 0.5"),
        ("collapsed", _words(max_beta=0.0), False,
         "--beta-schedule cyclical, or --free-bits 0.25"),
        ("shrinking", _words(), False, "--beta-warmup 0.4, or --max-beta 0.15"),
        ("shrinking", _words(beta_warmup=0.6), False, "--beta-warmup 0.8, or --max-beta 0.15"),
        ("shrinking", _words(beta_warmup=0.9), False, "--max-beta 0.15"),
        ("shrinking", _words(beta_warmup=5000), False, "--beta-warmup 10000, or --max-beta 0.15"),
        ("shrinking", _words(beta_schedule="constant"), False,
         "--beta-schedule linear, or --max-beta 0.15"),
        ("partial", _words(free_bits=0.1), True, "--max-beta 0.15, or --free-bits 0.2"),
        ("over-sharp", _words(), False, "--max-beta 0.6, or a higher --logvar-min"),
        ("shifted", _words(), False, "--max-beta 0.6 before sampling from the prior"),
        ("healthy", _words(), False, ""),
    ],
)  # fmt: skip
def test_advice_has_values_to_start_from_and_leaves_out_what_the_run_has(
    state, objective, bottleneck, said
) -> None:
    model = ModelSettings(bottleneck=bottleneck)
    assert concrete(rules.TRY[state], objective, model) == said


def test_an_empty_text_has_its_head() -> None:
    assert wrapped("rule: ", "") == [[("rule: ", "cyan"), ("", None)]]


@pytest.mark.parametrize(
    ("given", "planned", "looks", "pictures"),
    [
        ({}, 50_000, 200, 2000),
        ({"fast_detection": True}, 50_000, 100, 1000),
        ({}, 2_000, 40, 400),
        ({"fast_detection": True}, 2_000, 40, 400),
        ({}, 10, 1, 10),
        ({"monitor_every": 7}, 50_000, 7, 70),
        ({"plot_every": 30}, 50_000, 200, 30),
        ({"monitor_every": 5, "plot_every": 6, "fast_detection": True}, 100, 5, 6),
    ],
)
def test_looks_and_pictures_come_as_often_as_is_written(given, planned, looks, pictures) -> None:
    settings = MonitorSettings.model_validate(given)
    assert settings.monitor_window == 50
    assert (settings.looks_every(planned), settings.pictures_every(planned)) == (looks, pictures)


@pytest.mark.slow
def test_a_collapsed_run_closes_with_its_verdict_and_json_is_only_the_result(here) -> None:
    doomed = ["train", "--preset", "tiny", "--subjects", "200", "--device", "cpu", "--max-beta",
              "10", "--beta-schedule", "constant", "--lr", "0.02", "--max-steps", "120",
              "--max-epochs", "99", "--patience", "0", "--weight-averaging", "0",
              "--val-check-interval", "0.5", "--on-collapse", "stop"]  # fmt: skip
    done = here(*doomed)
    assert done.returncode == 0, done.stderr
    assert "The run ends here (--on-collapse stop)." in done.stderr
    assert "Stopped early: the posterior collapsed (--on-collapse stop)." in done.stderr
    assert "collapsed" in done.stdout
    again = here("resume")
    assert (again.returncode, "Nothing to do" in again.stdout) == (0, True)
    document = here(*doomed, "--json", "--quiet")
    assert document.stderr == ""
    assert json.loads(document.stdout)["posterior"][0]["verdict"] == "collapsed"
