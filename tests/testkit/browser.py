"""A real browser for the tests of the page: Debian's chromium, headless, that reaches no other host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from commands.screenshots import FLAGS, chromium_path

WIDE = {"width": 1440, "height": 900}
WAIT_MS = 120_000  # of a busy machine
PHONE = {"width": 390, "height": 844}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser, or skip the test and say why."""
    path = chromium_path()
    if path is None:
        pytest.skip("there is no chromium here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        except Error as error:
            pytest.skip(f"{path} does not start here: {error}")
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page with what it complained of and whom it called."""

    def __init__(self, browser: Browser, url: str, *, size: dict[str, int] = WIDE, scheme: str = "dark") -> None:
        self.context = browser.new_context(
            viewport={"width": size["width"], "height": size["height"]},
            color_scheme="light" if scheme == "light" else "dark",
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready]")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until an element says something.

        Raises:
            playwright.sync_api.TimeoutError: it does not.
        """
        self.page.locator(selector).filter(has_text=text).first.wait_for()
