"""A headless browser that opens reports from disk and notes all that they ask for and complain of.

Screenshots are kept in the folder that SETVAE_SCREENSHOTS names, else beside the test's files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

WIDE, NARROW = 1280, 400
_HEIGHT = 900
_QUIET = (
    "--no-sandbox",  # it refuses to start as root with one
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass
class Visit:
    """A report that is open.

    Attributes:
        page: Of playwright.
        complaints: Errors and warnings of the console, and exceptions of the page's scripts.
        requests: All that was asked for beside the file itself.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def keep(self, folder: Path, name: str, *, whole: bool = True) -> Path:
        """Take a picture of the page, or of what fits the window."""
        path = folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole)
        return path


Visitor = Callable[..., Visit]
"""Opens a file: its path, and `width` in pixels, `touch`, `dark`."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser; tests that ask for it skip where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on the path")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=list(_QUIET))
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Visitor]:
    """Opens files; what is open is closed in the end."""
    contexts = []

    def opened(path: Path, *, width: int = WIDE, touch: bool = False, dark: bool = False) -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": _HEIGHT},
            has_touch=touch,
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        found, address = Visit(context.new_page()), path.absolute().as_uri()

        def asked(request: Any) -> None:
            if request.url != address and not request.url.startswith("data:"):
                found.requests.append(request.url)

        def said(message: Any) -> None:
            if message.type in ("error", "warning"):
                found.complaints.append(message.text)

        found.page.on("request", asked)
        found.page.on("console", said)
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.goto(address, wait_until="load")
        return found

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where screenshots are kept."""
    folder = Path(os.environ.get("SETVAE_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
