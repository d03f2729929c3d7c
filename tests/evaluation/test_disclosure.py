"""No count below ten of a table of groups can be read, or worked out from the others."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.evaluation.disclosure import HIDDEN, Cells, Shown, bounds, shown


def binary(subjects: int, positives: int) -> Cells:
    return Cells(subjects, positives, min(positives, subjects - positives))


def told(text: str, total: int) -> range:
    """The numbers that a text could stand for."""
    if text == HIDDEN:
        return range(total + 1)
    if text == "<10":
        return range(10)
    if text.endswith("+"):
        return range(int(text[:-1]), bounds(int(text[:-1]))[1] + 1)
    return range(int(text), int(text) + 1)


def possible(texts: list[str], total: int) -> list[set[int]]:
    """What each count could be, given the texts of all and their sum."""
    *firsts, last = [told(text, total) for text in texts]
    fitting = [(*each, total - sum(each)) for each in product(*firsts) if total - sum(each) in last]
    return [set(column) for column in zip(*fitting, strict=True)]


GROUPS = st.lists(
    st.integers(1, 25).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=2,
    max_size=3,
)


@settings(deadline=None, max_examples=60)
@given(GROUPS)
def test_every_small_count_could_be_several_numbers(groups: list[tuple[int, int]]) -> None:
    cells = [binary(*one) for one in groups]
    visible = shown(cells)
    for counts, texts in (
        ([n for n, _ in groups], [one.subjects for one in visible]),
        ([p for _, p in groups], [one.positives for one in visible]),
    ):
        for number, choices in zip(counts, possible(texts, sum(counts)), strict=True):
            assert number in choices
            if number < 10 and sum(counts) > 0:
                assert len(choices) >= 2


@settings(deadline=None, max_examples=30)
@given(GROUPS)
def test_figures_are_shown_exactly_of_groups_that_are_not_small(
    groups: list[tuple[int, int]],
) -> None:
    cells = [binary(*one) for one in groups]
    assert [one.figures for one in shown(cells)] == [not one.small for one in cells]


def test_large_groups_are_shown_as_they_are() -> None:
    assert shown([binary(1200, 300), binary(90, 20)]) == (
        Shown("1 200", "300", True, True),
        Shown("90", "20", True, True),
    )


def test_one_small_group_takes_the_smallest_other_with_it() -> None:
    visible = shown([binary(336, 45), binary(263, 37), binary(2, 1)])
    assert [(one.subjects, one.positives) for one in visible] == [
        ("336", "45"),
        ("200+", "30+"),
        ("<10", "<10"),
    ]
    assert [one.figures for one in visible] == [True, True, False]


def test_few_negatives_are_as_small_as_few_positives() -> None:
    visible = shown([binary(60, 54), binary(70, 34), binary(80, 40)])
    assert visible[0] == Shown("60", "50+", False, False)
    assert visible[1] == Shown("70", "30+", True, False)
    assert visible[2] == Shown("80", "40", True, True)


def test_where_nothing_helps_no_count_is_shown() -> None:
    visible = shown([binary(9, 4), binary(9, 4)])  # 18 in all: both would be known
    assert {(one.subjects, one.positives) for one in visible} == {(HIDDEN, HIDDEN)}


@settings(deadline=None, max_examples=40)
@given(GROUPS.map(lambda groups: groups[:2]))
def test_few_negatives_are_not_worked_out_either(groups: list[tuple[int, int]]) -> None:
    visible = shown([binary(*one) for one in groups])
    everyone, positive = (sum(column) for column in zip(*groups, strict=True))
    choices: list[set[int]] = [set(), set()]
    for subjects in told(visible[0].subjects, everyone):
        for positives in told(visible[0].positives, positive):
            others = everyone - subjects, positive - positives
            here = others[0] in told(visible[1].subjects, everyone)
            here = here and others[1] in told(visible[1].positives, positive)
            pairs = ((subjects, positives), others)
            if here and all(0 <= some <= whole for whole, some in pairs):
                for found, (whole, some) in zip(choices, pairs, strict=True):
                    found.add(whole - some)
    for (whole, some), found in zip(groups, choices, strict=True):
        assert whole - some in found
        if whole - some < 10 and everyone > positive > 0:
            assert len(found) >= 2


@pytest.mark.parametrize("number", [0, 9, 10, 99, 100, 4321])
def test_a_count_lies_between_its_bounds(number: int) -> None:
    low, high = bounds(number)
    assert low <= number <= high
