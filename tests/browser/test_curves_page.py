"""The report of curves in a browser, opened from disk: what it shows, asks for and lets one do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from setvae_cli.reports.curves.read import read_run
from setvae_cli.reports.curves.text import judge
from setvae_cli.reports.curves.write import write
from tests.browser.conftest import NARROW, WIDE, Visitor
from tests.reports.logs import original, write_events
from tests.reports.monitored import collapsing, healthy, with_the_original_s_numbers, write_run

pytestmark = pytest.mark.slow
PICTURES = 4


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of one run, and one of a run beside an original's log."""
    root = tmp_path_factory.mktemp("curves")
    ours = write_run(root / "seqsetvae" / "version_0", [healthy, collapsing], action="lower-beta")
    points = with_the_original_s_numbers(original(3000, kl=40, wobble=0.1))
    write_events(root / "old <b>" / "version_3", points)
    runs = [judge(read_run(folder)) for folder in (ours, root / "old <b>" / "version_3")]
    pages = {"one": runs[:1], "compared": runs}
    return {name: write(root / name, these)[-1] for name, these in pages.items()}


@pytest.mark.parametrize("name", ["one", "compared"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_asks_for_nothing_and_fits_the_screen(
    visit: Visitor, reports: dict[str, Path], screenshots: Path, name: str, width: int
) -> None:
    open_ = visit(reports[name], width=width, touch=width == NARROW)
    page = open_.page
    sizes = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert len(sizes) == PICTURES
    assert min(sizes) > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "all => all.filter(one => one.getBoundingClientRect().right > innerWidth + 1).length"
    assert page.eval_on_selector_all("main > section, .chart *, h1, p", wide) == 0
    open_.keep(screenshots, f"curves_{name}_{width}")
    assert (open_.complaints, open_.requests) == ([], [])


def shown(page: Any) -> tuple[float, float]:
    """First and last step that is written below the chart."""
    read = "all => all.filter(one => one.getAttribute('text-anchor') == 'middle'"
    read += (
        " && one.classList.contains('tick')).map(one => Number(one.textContent.replace(' ', '')))"
    )
    steps = page.eval_on_selector_all(".plot text", read)
    return steps[0], steps[-1]


def drag(page: Any, start: float, end: float) -> None:
    """Pull the mouse over a part of the chart, in shares of its width."""
    page.locator(".plot").scroll_into_view_if_needed()
    box = page.locator(".plot").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], middle, steps=5)
    page.mouse.up()


def test_dragging_zooms_and_all_steps_come_back(
    visit: Visitor, reports: dict[str, Path], screenshots: Path
) -> None:
    open_ = visit(reports["one"])
    page = open_.page
    assert shown(page)[1] == 3000
    drag(page, 0.4, 0.6)
    first, last = shown(page)
    assert 1000 < first < last < 2000
    open_.keep(screenshots, "curves_zoomed", whole=False)
    page.get_by_role("button", name="All steps").click()
    assert shown(page)[1] == 3000
    assert open_.complaints == []


def test_pointing_tells_the_step_and_the_value_of_each_curve(
    visit: Visitor, reports: dict[str, Path]
) -> None:
    page = visit(reports["compared"]).page
    page.get_by_label("Show").select_option("AUROC")
    page.locator(".plot").hover()
    told = page.locator(".told").inner_text()
    step = int(re.search(r"step ([\d ]+)", told)[1].replace(" ", ""))
    assert 1200 < step < 1800
    for name in ("seqsetvae/version_0", "old <b>/version_3"):
        assert re.search(rf"{name}, validation: 0\.[78]\d* \(at 1 [3-6]00\)", told), told


def test_a_curve_that_is_not_ticked_is_gone_and_stays_so_in_other_figures(
    visit: Visitor, reports: dict[str, Path]
) -> None:
    page = visit(reports["one"]).page
    assert page.locator(".curve").count() == 2
    page.get_by_label("training", exact=True).uncheck()
    assert page.locator(".curve").count() == 1
    page.get_by_label("Show").select_option("Reconstruction")
    assert page.locator(".curve").count() == 1


def test_the_chart_is_used_by_keys_alone(visit: Visitor, reports: dict[str, Path]) -> None:
    page = visit(reports["one"]).page
    page.locator(".plot").focus()
    page.keyboard.press("ArrowRight")
    assert "training:" in page.locator(".told").inner_text()
    page.keyboard.press("+")
    first, last = shown(page)
    assert last - first < 2000
    page.keyboard.press("0")
    assert shown(page)[1] == 3000


def test_a_finger_reads_and_zooms_on_a_small_screen(
    visit: Visitor, reports: dict[str, Path], screenshots: Path
) -> None:
    open_ = visit(reports["one"], width=NARROW, touch=True)
    page = open_.page
    page.get_by_label("Show").select_option("Active units")
    page.locator(".plot").tap()
    assert "level 2:" in page.locator(".told").inner_text()
    page.get_by_role("button", name="Zoom in").tap()
    assert shown(page)[1] < 3000
    open_.keep(screenshots, "curves_touched", whole=False)
    small = "all => all.filter(one => one.getBoundingClientRect().height < 32).length"
    assert page.eval_on_selector_all(".chart button, .chart select, .chart label", small) == 0
