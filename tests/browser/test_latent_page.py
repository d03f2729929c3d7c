"""report.html of latents in a browser: opened from disk, used, and quiet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from setvae_cli.evaluation.latents import Latents
from setvae_cli.reports.latents.write import write
from tests.browser.conftest import NARROW, WIDE, Visit, Visitor
from tests.reports.latents.made import made

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def latents() -> Latents:
    long = "best_epoch=12_step=12300_auc=0.8255_bs=4.ckpt"  # as training writes them
    return replace(made(subjects=150, per=12, levels=2), checkpoint=long)


@pytest.fixture(scope="module")
def report(latents: Latents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    *_, page = write(
        folder,
        latents,
        method="pca",
        seed=0,
        show_ids=None,
        progress=lambda words: None,
    )
    return page


def shown(visit: Visit) -> int:
    return int(visit.page.locator("#latent-canvas").get_attribute("data-shown"))


def zoomed(visit: Visit) -> float:
    settle(visit)
    return float(visit.page.locator("#latent-canvas").get_attribute("data-zoom"))


def settle(visit: Visit) -> None:
    """Wait until what was asked for is drawn."""
    frames = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    visit.page.evaluate(frames)


def middle(visit: Visit) -> tuple[float, float]:
    canvas = visit.page.locator("#latent-canvas")
    canvas.scroll_into_view_if_needed()
    box: Any = canvas.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def narrow_down(visit: Visit, latents: Latents, row: int) -> None:
    """Leave the one point that is z of a subject's first set, in the middle of the map."""
    page = visit.page
    page.locator("#latent-row").fill(str(row))
    page.locator("#latent-to").fill("0.5")
    page.locator("#latent-h").uncheck()
    page.locator("#latent-fit").click()
    settle(visit)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_asks_for_nothing_and_complains_of_nothing(
    visit: Visitor, report: Path, screenshots: Path, width: int
) -> None:
    open_page = visit(report, width=width, touch=width == NARROW)
    assert shown(open_page) == 2 * 150 * 12
    open_page.keep(screenshots, f"latents_{width}")
    assert open_page.page.evaluate("document.documentElement.scrollWidth") <= width
    assert (open_page.complaints, open_page.requests) == ([], [])


def test_the_wheel_the_buttons_and_the_keys_zoom(visit: Visitor, report: Path) -> None:
    open_page = visit(report)
    page = open_page.page
    page.mouse.move(*middle(open_page))
    assert zoomed(open_page) == pytest.approx(1, abs=0.01)
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.getElementById('latent-canvas').dataset.zoom > 1.5")
    near = zoomed(open_page)
    page.locator("#latent-out").click()
    assert zoomed(open_page) < near
    page.locator("#latent-canvas").focus()
    page.keyboard.press("+")
    assert zoomed(open_page) == pytest.approx(near, abs=0.01)
    page.keyboard.press("0")
    assert zoomed(open_page) == pytest.approx(1, abs=0.01)
    assert (open_page.complaints, open_page.requests) == ([], [])


def test_a_point_that_is_looked_at_tells_its_row(
    visit: Visitor, report: Path, latents: Latents, screenshots: Path
) -> None:
    open_page = visit(report)
    row, label = int(latents.subjects.row[7]), int(latents.subjects.label[7])
    narrow_down(open_page, latents, row)
    assert shown(open_page) == 1
    open_page.page.mouse.move(*middle(open_page))
    tip = open_page.page.locator("#latent-tip")
    assert tip.is_visible()
    assert f"row {row}, set 1, z" in tip.inner_text()
    assert f"died: {label}" in tip.inner_text()
    assert "risk" not in tip.inner_text()
    open_page.keep(screenshots, "latents_hover", whole=False)
    assert (open_page.complaints, open_page.requests) == ([], [])


def test_a_finger_reads_a_point_on_a_narrow_screen(
    visit: Visitor, report: Path, latents: Latents, screenshots: Path
) -> None:
    open_page = visit(report, width=NARROW, touch=True)
    row = int(latents.subjects.row[11])
    narrow_down(open_page, latents, row)
    open_page.page.touchscreen.tap(*middle(open_page))
    assert f"row {row}," in open_page.page.locator("#latent-tip").inner_text()
    open_page.keep(screenshots, "latents_touch", whole=False)


def test_filters_count_what_they_leave(visit: Visitor, report: Path, latents: Latents) -> None:
    open_page, sets = visit(report), 150 * 12
    page = open_page.page
    died = int((latents.subjects.label == 1).sum()) * 12
    page.locator("#latent-label").select_option("1")
    assert shown(open_page) == 2 * died
    page.locator("#latent-z").uncheck()
    assert shown(open_page) == died
    page.locator("#latent-clear").click()
    page.locator("#latent-from").fill("20")
    page.locator("#latent-to").fill("30")
    hours = np.floor(latents.sets.hours)  # of the page
    inside = (hours >= 20) & (hours <= 30)
    assert shown(open_page) == 2 * int(inside.sum())
    page.locator("#latent-clear").click()
    page.locator("#latent-map").select_option(label="z of level 2 (PCA)")
    assert shown(open_page) == sets
    assert "1 800 of 1 800" in page.locator("#latent-count").inner_text()


def test_every_colour_draws_and_every_map_opens(
    visit: Visitor, report: Path, screenshots: Path
) -> None:
    open_page = visit(report)
    for name in ("map", "colour"):
        for number in range(open_page.page.locator(f"#latent-{name} option").count()):
            open_page.page.locator(f"#latent-{name}").select_option(index=number)
            settle(open_page)
            middle(open_page)
            open_page.keep(screenshots, f"latents_{name}_{number}", whole=False)
    assert (open_page.complaints, open_page.requests) == ([], [])
