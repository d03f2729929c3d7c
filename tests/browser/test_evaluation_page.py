"""The report of an evaluation in a browser, opened from disk: it fits, and asks for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from setvae_cli.reports.evaluation.write import write
from tests.browser.conftest import NARROW, WIDE, Visitor
from tests.reports.evaluation.made import findings, table, task

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of one label with groups, one of two labels, and one where a class is missing."""
    root = tmp_path_factory.mktemp("evaluation")
    one = findings(task(900, wards=("surgical", "medical", "coronary <b>", "trauma")))
    several = findings(
        task(300, wards=("a", "b")), task(300, classes=4, name="stage", wards=("a", "b"))
    )
    made = {"one": one, "several": several, "small": findings(task(3, extreme=-9.0))}
    return {
        name: write(root / name, found, table(), progress=lambda doing: None)[-1]
        for name, found in made.items()
    }


@pytest.mark.parametrize("name", ["one", "several", "small"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_asks_for_nothing_and_fits_the_screen(
    visit: Visitor, reports: dict[str, Path], screenshots: Path, name: str, width: int
) -> None:
    open_ = visit(reports[name], width=width, touch=width == NARROW)
    page = open_.page
    sizes = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert len(sizes) == (2 if name == "small" else 3)
    assert min(sizes) > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "all => all.filter(one => one.getBoundingClientRect().right > innerWidth + 1).length"
    assert page.eval_on_selector_all("main > section, h1, p", wide) == 0
    open_.keep(screenshots, f"evaluation_{name}_{width}")
    assert (open_.complaints, open_.requests) == ([], [])


def test_the_answers_stand_first_and_every_picture_is_told_in_words(
    visit: Visitor, reports: dict[str, Path]
) -> None:
    page = visit(reports["one"]).page
    assert page.locator("section h2").first.inner_text() == "What was found"
    questions = page.locator("section").first.locator("th[scope=row]").all_inner_texts()
    assert questions == [
        "Is it good?",
        "Is it calibrated?",
        "For whom is it worse?",
        "What next?",
    ]
    told = page.eval_on_selector_all("img", "all => all.map(one => one.alt)")
    assert all(len(each) > 20 for each in told)
    assert page.locator("section:has(img) table").count() >= len(told)
