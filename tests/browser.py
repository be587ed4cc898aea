"""Chromium for the tests of pages, which are skipped where Playwright or Chromium is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
expect = sync_api.expect
expect.set_options(timeout=20_000)  # on a machine that does something else too
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

VIEWPORT = {"width": 1280, "height": 900}
# Pages wait until someone has typed; a tenth of these pauses will do.
SHORT_PAUSES = "const later = setTimeout; window.setTimeout = (work, ms) => later(work, ms / 10)"


@pytest.fixture(scope="module")  # no longer: while Playwright runs, other tests in this thread cannot use asyncio
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root otherwise
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Window:
    """A browser's context with one page for many tests: new ones for each would take longer than most tests do.

    Args:
        browser: Where to open it.
        options: Of the context.
    """

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**{"reduced_motion": "reduce", "viewport": VIEWPORT} | options)
        self.context.set_default_timeout(4000)
        self.context.add_init_script(SHORT_PAUSES)
        self.console: list[tuple[str, str]] = []  # type and text
        self.requested: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.console.append((message.type, message.text)))
        self.page.on("pageerror", lambda error: self.console.append(("error", str(error))))
        self.page.on("request", lambda request: self.requested.append(request.url))

    def clear(self) -> None:
        """Leave nothing of a test to the next one."""
        self.page.unroute_all()
        if not self.page.url.startswith("about:"):
            self.page.evaluate("sessionStorage.clear(); localStorage.clear()")
        if self.page.viewport_size != VIEWPORT:
            self.page.set_viewport_size(VIEWPORT)
        self.console.clear()
        self.requested.clear()
