"""The page answers what is asked of predictions first, and holds nobody's id."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from setvae_cli.evaluation.findings import assess
from setvae_cli.evaluation.labelled import Labelled
from setvae_cli.reports.evaluation.answers import answers, next_step
from setvae_cli.reports.evaluation.page import as_page
from setvae_cli.reports.evaluation.plain import as_plain
from setvae_cli.reports.evaluation.write import write
from tests.reports.evaluation.made import findings, table, task


def said(one, found) -> dict[str, str]:
    return {answer.question: f"{answer.sign}: {answer.words}" for answer in answers(one, found)}


def test_a_calibrated_model_is_not_accused() -> None:
    one = task(600)
    found = said(one, findings(one))
    assert found["Is it calibrated?"].startswith("no fault seen: slope")
    assert found["For whom is it worse?"].startswith("not asked: subjects can be told apart by")
    assert (
        next_step(findings(one)).words == "see for whom it is worse: setvae evaluate RUN --by Ward"
    )


def test_predictions_that_are_too_far_apart_are_said_to_be() -> None:
    one = task(600, extreme=2.0)
    found = said(one, findings(one))["Is it calibrated?"]
    assert found.startswith("no: predictions are too far apart, slope 0.")


def test_risks_that_run_the_wrong_way_are_not_called_guessing_or_too_far_apart() -> None:
    one = task(600, extreme=-1.0)
    found = said(one, findings(one))
    assert found["Is it good?"].startswith("worse than guessing: AUROC 0.")
    assert "holds 0.5" not in found["Is it good?"]
    assert found["Is it calibrated?"].startswith("no: risks run the wrong way, slope -")


def test_a_slope_that_may_be_anything_shows_no_calibration() -> None:
    one = task(40, extreme=0.2, seed=4)
    found = said(one, findings(one))["Is it calibrated?"]
    assert found.startswith("not known: slope")
    assert found.endswith("too wide to say more")


def test_a_group_that_is_ranked_by_chance_is_named() -> None:
    one = task(900, wards=("a", "b"))
    found = said(one, findings(one))["For whom is it worse?"]
    assert found.startswith("some groups: Ward b is ranked worse, AUROC 0.")


def test_guessing_is_not_called_good() -> None:
    one = task(60, wards=("a",))
    found = said(one, findings(one))["Is it good?"]
    assert found.startswith("not shown: AUROC 0.")
    assert "its interval holds 0.5" in found


def test_figures_of_subjects_that_were_trained_on_are_not_called_good() -> None:
    one = task(900)
    honest, flattered = findings(one), replace(findings(one), flattered=True)
    assert not said(one, honest)["Is it good?"].startswith("not")
    found = said(one, flattered)["Is it good?"]
    assert found.startswith("not known: AUROC 0.")
    assert "trained on subjects that it is measured on" in found


def test_advice_is_of_options_that_the_command_has() -> None:
    one = task(60, wards=("a",))
    found = findings(one)
    tuned = replace(found, source=replace(found.source, command="finetune"))
    advised = [answers(one, each)[0].mend for each in (found, tuned)]
    assert "--pred-weight" in advised[0]
    assert "--pred-weight" not in advised[1]
    assert "--encoder-lr-ratio" in advised[1]


def test_classes_are_called_by_their_names() -> None:
    several = task(300, classes=3, wards=("a", "b"), names=("dead", "home", "<ward>"))
    page, plain = as_page(findings(several), []), as_plain(findings(several))
    assert "&lt;ward&gt;" in page
    assert "class 2" not in page
    assert "observed / expected" not in page
    (told,) = plain["tasks"]
    assert [one["class"] for one in told["each_class"]] == ["dead", "home", "<ward>"]
    assert {one["positives"] for one in told["groups"][0]["groups"]} == {None}
    assert "positive (yes, " in as_page(findings(task(names=("no", "yes"))), [])


def test_what_the_model_does_not_know_of_other_data_is_said() -> None:
    own = findings(task())
    other = replace(own, unmatched=0.08, source=replace(own.source, data="b" * 64))
    page = as_page(other, [])
    assert "Note: the model knows 92.0 % of the events" in page
    assert "Note: these are not the data that the model was trained on." in page
    assert "Note:" not in as_page(own, [])


def test_a_handful_of_subjects_is_not_judged_and_has_no_curves() -> None:
    one = task(9, extreme=-9.0)
    found = said(one, findings(one))
    assert found["Is it good?"].endswith("under 10 subjects of a class are too few to judge")
    assert found["Is it calibrated?"].startswith("not known")
    assert (one.curves, one.expected) == ((), ())


def test_without_labels_nothing_is_made_up() -> None:
    nobody = np.zeros(0, np.int64)
    of = Labelled("death", 2, np.zeros((0, 1)), nobody, nobody)
    one = assess(of, [], threshold=None, resamples=50, seed=0, progress=lambda *told: None)
    found = findings(one, split="all")
    assert said(one, found)["Is it good?"] == "not known: no labelled subjects"
    plain = as_plain(found)
    assert {metric["value"] for metric in plain["tasks"][0]["metrics"]} == {None}
    json.dumps(plain, allow_nan=False)
    assert "no labelled subjects" in as_page(found, [])


def test_plain_values_hold_what_the_page_shows() -> None:
    one = task(600, wards=("a", "b", "c"))
    found = findings(one, notes=("figures flatter it",))
    plain, page = as_plain(found), as_page(found, [])
    json.dumps(plain, allow_nan=False)
    for metric in plain["tasks"][0]["metrics"]:
        assert f"{metric['value']:.3f}" in page
    assert [group["group"] for group in plain["tasks"][0]["groups"][0]["groups"]] == ["a", "b", "c"]
    assert "Note: figures flatter it." in page


def test_groups_that_may_not_be_shown_have_a_table_and_no_picture(tmp_path: Path) -> None:
    found = findings(task(24, wards=("a", "b")))
    assert not any(group.shown.figures for by in found.tasks[0].by for group in by.groups)
    written = write(tmp_path, found, table(), progress=lambda doing: None)
    assert "subgroups.png" not in [path.name for path in written]
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Groups</h2>" in page
    assert "not shown" in page


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 12])
def test_every_number_of_classes_is_drawn(tmp_path: Path, classes: int) -> None:
    one = task(400, classes=classes, wards=("a", "b"))
    written = write(tmp_path, findings(one), table(), progress=lambda doing: None)
    assert [path.name for path in written] == [
        "roc_and_precision.png",
        "reliability.png",
        "subgroups.png",
        "predictions.parquet",
        "metrics.json",
        "report.html",
    ]
    assert all(path.is_file() for path in written)
