"""The report of a comparison in a browser, opened from disk: every figure can be read anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from setvae_cli.reports.comparison.write import write
from tests.browser.conftest import NARROW, WIDE, Visitor
from tests.reports.compared import shares

pytestmark = pytest.mark.slow
MIDDLE = 800
NAMED = """all => all.filter(one => one.getClientRects().length).map(one => [
    getComputedStyle(one, "::before").content, one.dataset.label])"""
WRAPPED = """all => all.filter(one => {
    const range = document.createRange(); range.selectNodeContents(one);
    return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1}).length"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of one share of the labels without folds, and of five shares over folds."""
    root = tmp_path_factory.mktemp("comparison")
    made = {"one": shares(folds=None, seeds=1), "five": shares((0.01, 0.05, 0.1, 0.5, 1.0))}
    return {name: write(root / name, found, {})[-1] for name, found in made.items()}


@pytest.mark.parametrize("name", ["one", "five"])
@pytest.mark.parametrize("width", [WIDE, MIDDLE, NARROW])
def test_the_page_asks_for_nothing_and_fits_the_screen(
    visit: Visitor, reports: dict[str, Path], screenshots: Path, name: str, width: int
) -> None:
    open_ = visit(reports[name], width=width, touch=width == NARROW)
    page = open_.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = "all => all.filter(one => one.getBoundingClientRect().right > innerWidth + 1).length"
    assert page.eval_on_selector_all("main > section, h1, p, td, th, td span", outside) == 0
    assert page.locator(".range").count() > 10
    assert page.eval_on_selector_all(".range", WRAPPED) == 0
    open_.keep(screenshots, f"comparison_{name}_{width}")
    assert (open_.complaints, open_.requests) == ([], [])


@pytest.mark.parametrize("name", ["one", "five"])
def test_on_a_narrow_screen_every_figure_stands_behind_the_name_of_its_column(
    visit: Visitor, reports: dict[str, Path], name: str
) -> None:
    figures = visit(reports[name], width=NARROW).page.eval_on_selector_all("td", NAMED)
    assert len(figures) > 10
    assert all(shown == f'"{label}"' for shown, label in figures)
    wide = visit(reports[name], width=WIDE).page.eval_on_selector_all("td", NAMED)
    assert {shown for shown, _ in wide} == {"none"}
