"""Groups have the figures of their own subjects, and small ones have none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests import tiny

from setvae_cli.errors import InputError
from setvae_cli.evaluation.attributes import Attribute, attribute, attribute_names
from setvae_cli.evaluation.labelled import Labelled, sigmoid
from setvae_cli.evaluation.scores import score
from setvae_cli.evaluation.subgroups import by_attribute
from setvae_cli.reports.evaluation.page import said_of_hidden
from setvae_cli.store.reader import Store


def drawn(size: int = 400, *, seed: int = 0) -> Labelled:
    generator = np.random.default_rng(seed)
    x = generator.normal(-0.5, 2, size)
    labels = (generator.random(size) < sigmoid(x)).astype(np.int64)
    return Labelled("death", 2, x[:, None], labels, np.arange(size))


def halves(of: Labelled) -> Attribute:
    return Attribute("Half", ("first", "second"), np.arange(len(of)) % 2)


def test_a_group_has_the_figures_of_its_subjects_alone() -> None:
    of = drawn()
    first = by_attribute(of, halves(of), resamples=0).groups[0]
    alone = of.of(np.arange(400) % 2 == 0)
    expected = {one.name: one.value for one in score(alone, resamples=0)}
    assert first.auroc.value == pytest.approx(expected["auroc"], abs=1e-3)
    assert first.auprc.value == pytest.approx(expected["auprc"], abs=1e-3)
    ratio = (alone.labels == 1).sum() / sigmoid(alone.logits[:, 0]).sum()
    assert first.observed_to_expected.value == pytest.approx(ratio, abs=1e-3)


def test_a_group_that_is_ranked_by_chance_is_called_worse_and_no_other() -> None:
    of = drawn(900)
    place = np.arange(900) % 3
    logits = of.logits.copy()
    logits[place == 2] = np.random.default_rng(9).permutation(logits[place == 2])
    table = by_attribute(
        replace(of, logits=logits), Attribute("Ward", ("a", "b", "c"), place), resamples=200
    )
    assert [one.worse for one in table.groups] == [False, False, True]


def test_a_group_whose_risk_is_told_too_low_is_off_and_one_as_all_is_not() -> None:
    of = drawn(900)
    place = (np.arange(900) % 3 == 2).astype(np.int64)
    logits = of.logits - 2.0 * place[:, None]
    half = Attribute("Half", ("most", "low"), place)
    table = by_attribute(replace(of, logits=logits), half, resamples=200)
    assert table.groups[1].off
    assert table.groups[1].observed_to_expected.value > 1.2
    shifted = by_attribute(replace(of, logits=of.logits - 2.0), half, resamples=200)
    assert [one.off for one in shifted.groups] == [False, False]
    assert shifted.groups[0].observed_to_expected.value > 1.2


def test_alike_groups_are_not_called_worse() -> None:
    called = [
        one.worse or one.off
        for seed in range(20)
        for one in by_attribute(drawn(300, seed=seed), halves(drawn(300)), resamples=100).groups
    ]
    assert sum(called) <= 6  # of 40; chance gives 5 % a table and figure


def test_small_groups_have_no_figures() -> None:
    of = drawn()
    place = (np.arange(400) < 12).astype(np.int64)  # 12 subjects, of one class under ten
    table = by_attribute(of, Attribute("Half", ("most", "few"), place), resamples=20)
    most, few = table.groups
    assert (few.auroc, few.auprc, few.observed_to_expected, few.gap) == (None, None, None, None)
    assert few.shown.positives == "<10"
    assert most.auroc is not None
    assert most.gap is None  # it would tell of the few
    assert table.suppressed


def test_what_would_give_positives_away_is_not_shown_beside_a_small_group() -> None:
    of = drawn(220, seed=3)
    place = np.digitize(np.arange(220), (14, 74, 136))  # of the first group one class is small
    table = by_attribute(of, Attribute("Ward", ("few", "a", "b", "c"), place), resamples=20)
    inexact = [one for one in table.groups if one.shown.figures and not one.shown.exact]
    assert inexact
    for one in table.groups:
        assert (one.observed_to_expected is not None) == one.shown.exact
        assert one.shown.exact or not one.off
    assert all(one.auroc is not None for one in inexact)
    assert "no observed to expected" in said_of_hidden(table)


def test_figures_of_groups_have_three_digits() -> None:
    of = drawn()
    for one in by_attribute(of, halves(of), resamples=20).groups:
        for figure in (one.auroc, one.auprc, one.observed_to_expected, one.gap):
            for value in (figure.value, figure.low, figure.high):
                assert value == round(value, 3)


def stored(folder: Path, **columns: list[object]) -> Store:
    """A store of 40 subjects with attributes."""
    source = tiny.cohort(40, parts=1)
    (part,) = source.content
    subjects = part.subjects
    for name, values in columns.items():
        subjects = subjects.append_column(f"attribute.{name}", pa.array(values))
    tiny.write(replace(source, content=[replace(part, subjects=subjects)]), folder / "store")
    return Store.open(folder / "store")


def test_attributes_become_groups(tmp_path: Path) -> None:
    sex: list[object] = [None if i == 7 else float(i % 2) for i in range(40)]
    ward: list[object] = ["b" if i % 3 else "a" for i in range(40)]
    store = stored(tmp_path, Sex=sex, Ward=ward, Age=[20.0 + i for i in range(40)])
    assert attribute_names(store) == ("Age", "Sex", "Ward")
    rows = np.arange(40)
    by_sex = attribute(store, "Sex", rows)
    assert by_sex.groups == ("0", "1", "unknown")
    assert by_sex.place[7] == 2
    assert attribute(store, "Ward", rows).groups == ("a", "b")
    age = attribute(store, "Age", rows)
    assert age.groups == ("to 29.8", "29.8 to 39.5", "39.5 to 49.2", "above 49.2")
    assert np.bincount(age.place).tolist() == [10, 10, 10, 10]
    assert age.cut.startswith("cut at the quartiles 29.8, 39.5, 49.2")
    some = attribute(store, "Sex", rows[::2])
    assert (some.groups, set(some.place)) == (("0",), {0})


def test_an_unknown_attribute_names_those_there_are(tmp_path: Path) -> None:
    store = stored(tmp_path, Age=[20.0 + i for i in range(40)], Ward=["w"] * 40)
    with pytest.raises(InputError, match="has no attribute Gender: there are Age, Ward; name one"):
        attribute(store, "Gender", np.arange(40))


def test_a_value_of_few_subjects_is_not_named(tmp_path: Path) -> None:
    note: list[object] = ["usual"] * 30 + [f"lives at {i}" for i in range(9)] + [None]
    number: list[object] = [1.0] * 30 + [77.5] * 10
    store = stored(tmp_path, Note=note, Number=number)
    found = attribute(store, "Note", np.arange(40))
    assert found.groups == ("usual", "rare values", "unknown")
    assert np.bincount(found.place).tolist() == [30, 9, 1]
    assert attribute(store, "Number", np.arange(40)).groups == ("1", "77.5")
    assert attribute(store, "Number", np.arange(39)).groups == ("1", "rare values")


def test_numbers_of_few_subjects_are_cut_into_fewer_groups(tmp_path: Path) -> None:
    store = stored(tmp_path, Age=[20.0 + i for i in range(40)])
    assert len(attribute(store, "Age", np.arange(39)).groups) == 3
    assert attribute(store, "Age", np.arange(25)).groups == ("to 32", "above 32")
    assert attribute(store, "Age", np.arange(19)).groups == ("any value",)


def test_texts_of_many_frequent_values_are_no_groups(tmp_path: Path) -> None:
    store = stored(tmp_path, Note=[f"text {i}" for i in range(40)])
    rows = np.repeat(np.arange(40), 10)
    with pytest.raises(InputError, match="Note is text with 40 frequent values, expected at most"):
        attribute(store, "Note", rows)
    assert attribute(store, "Note", np.arange(40)).groups == ("rare values",)
