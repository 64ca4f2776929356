"""The dashboard in a real browser: every panel fills, the controls act, a break leaves no hole, nothing calls out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from domain.instants import BUCKET_NS
from tests.testkit import web_desk as desk
from tests.testkit.browser import PHONE, WIDE, Watched, chromium
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import Desk, shown

SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    desk.write_desk(folder)
    with shown(folder) as made:
        yield made


@pytest.fixture
def page(browser: Browser, served: Desk) -> Iterator[Watched]:
    watched = Watched(browser, served.url)
    yield watched
    assert watched.complaints == []
    assert watched.hosts == {served.url.removeprefix("http://")}
    watched.context.close()


def is_drawn(watched: Watched, figure: str) -> bool:
    """Return whether a figure's canvas shows more than its frame: some different colours."""
    count = watched.page.eval_on_selector(
        f"{figure} canvas",
        """canvas => {
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
          return new Set(new Uint32Array(data.buffer)).size
        }""",
    )
    return int(count) > 5


def test_every_panel_fills(page: Watched) -> None:
    page.wait_for_text("#positions tbody tr", "SPXW 6015C")
    row = page.text("#positions tbody tr")
    assert "+200.00" in row
    assert "Nothing is held" not in page.text("#positions")
    page.wait_for_text("#trades tbody tr", "premium stop")
    page.wait_for_text("#alerts tbody tr", "SPX gamma flip")
    page.wait_for_text("#refusals tbody tr", "stale quote")
    page.wait_for_text("#account", "300,000.00")
    page.wait_for_text("#forces", "gamma")
    page.wait_for_text("#alarms", "DU***67")
    page.wait_for_text("#actors tbody tr", "risk:paper")
    assert page.text("#mode") == "fully live"
    assert page.text("#kill") == "Kill level 0"
    assert page.text("#price") == f"{desk.spot_at(desk.LAST) / 100:,.2f}"
    assert page.text("#pnl") == "+80.00"
    assert page.page.get_attribute("#risk", "aria-valuetext") == (
        "+80.00 dollars; soft stop \u22124,500, hard stop \u22126,000"
    )
    page.page.click("#alerts td button")
    page.wait_for_text("#why", "Alert")
    for figure in ("#chart", "#heat", "#money"):
        eventually(partial(is_drawn, page, figure), 10)


def test_each_canvas_has_a_sentence_and_a_table_that_say_the_same(page: Watched) -> None:
    page.page.click("#chart .as-table")
    first = page.text("#chart tbody tr:first-child").split()
    assert first[0] == "10:01"
    assert first[4] == f"{desk.spot_at(desk.LAST) / 100:,.2f}"
    assert page.text("#chart .summary").startswith(f"SPX {first[4]} at 10:01, above zero gamma")
    page.page.click("#heat .as-table")
    assert len(page.page.query_selector_all("#heat tbody tr")) > 20
    page.page.click("#chart .as-table")
    assert page.page.is_visible("#chart .plot")


def test_the_chart_is_panned_and_zoomed_by_keys(page: Watched) -> None:
    plot = page.page.locator("#chart .plot")
    plot.focus()
    before = plot.screenshot()
    plot.press("+")
    plot.press("+")
    plot.press("ArrowLeft")
    eventually(lambda: plot.screenshot() != before, 10)


def test_another_ticker_and_theme_are_shown_and_remembered(page: Watched) -> None:
    page.page.select_option("#ticker", "QQQ")
    page.wait_for_text("#ticker-name", "QQQ")
    eventually(partial(is_drawn, page, "#chart"), 10)
    page.page.click("#theme")
    page.page.reload()
    page.page.wait_for_selector("html[data-ready]")
    assert page.page.get_attribute("html", "data-theme") == "light"
    assert page.page.input_value("#ticker") == "QQQ"


def test_stop_allow_and_close_all_act_after_a_word_of_confirmation(page: Watched, served: Desk) -> None:
    page.page.wait_for_selector("#entries:enabled")
    page.page.click("#entries")
    page.wait_for_text("#kill", "Kill level 1")
    assert served.asked[-1]["do"] == "kill"
    page.page.click("#close-all")
    assert "1 open position at market" in page.text("#ask-text")
    page.page.click("#ask button[value=no]")
    assert served.asked[-1]["do"] == "kill"
    page.page.click("#close-all")
    page.page.click("#ask-yes")
    page.wait_for_text("#kill", "Kill level 2")
    assert (served.asked[-1]["do"], served.asked[-1]["by"]) == ("flatten", "dashboard (127.0.0.1)")
    page.page.click("#entries")
    page.page.fill("#ask-reason", "all is well")
    page.page.click("#ask-yes")
    page.wait_for_text("#kill", "Kill level 0")
    assert (served.asked[-1]["do"], served.asked[-1]["reason"]) == ("resume", "all is well")


def test_a_restart_of_everything_leaves_no_hole_in_the_chart(browser: Browser, tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    settings = desk.settings(tmp_path)
    with shown(tmp_path, settings) as first:
        watched = Watched(browser, first.url)
        watched.wait_for_text("#positions tbody tr", "SPXW 6015C")
    watched.wait_for_text("#lost", "Connection lost at")
    assert "SPXW 6015C" in watched.text("#positions")
    desk.write_market(tmp_path, desk.LAST + 1, desk.LAST + 6)
    with shown(tmp_path, settings, port=first.port, run_n=2) as again:
        assert again.url == first.url
        again.feed.show("reading:SPX", desk.NOW + 6 * BUCKET_NS, desk.reading_of(desk.LAST + 6))
        watched.page.wait_for_selector("#lost", state="hidden")
        watched.page.click("#chart .as-table")
        rows = [row.split()[0] for row in watched.page.locator("#chart tbody tr").all_inner_texts()]
        assert rows[:5] == ["10:04", "10:03", "10:02", "10:01", "10:00"]
        watched.page.click("#entries")  # with the token of the new run
        watched.wait_for_text("#kill", "Kill level 1")
    watched.context.close()


def test_eight_tabs_follow_at_once(browser: Browser, served: Desk) -> None:
    tabs = [Watched(browser, served.url) for _ in range(8)]
    served.feed.show("spots:SPX", desk.NOW, desk.spots(612_345, desk.NOW))
    for tab in tabs:
        tab.wait_for_text("#price", "6,123.45")
        tab.context.close()
    served.feed.show("spots:SPX", desk.NOW, desk.spots(desk.spot_at(desk.LAST), desk.NOW))


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "dark"), (WIDE, "light"), (PHONE, "dark"), (PHONE, "light")])
def test_axe_finds_nothing_serious(browser: Browser, served: Desk, size: dict[str, int], scheme: str) -> None:
    watched = Watched(browser, served.url, size=size, scheme=scheme)
    watched.wait_for_text("#alarms", "DU***67")
    found: list[dict[str, Any]] = Axe().run(watched.page).response["violations"]
    bad = [(v["id"], v["nodes"][0]["html"][:120]) for v in found if v["impact"] in SERIOUS]
    assert bad == []
    wide = watched.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size["width"]  # nothing sticks out to the side
    watched.context.close()


def test_the_page_goes_over_to_the_next_session_by_itself(page: Watched, served: Desk) -> None:
    page.page.click("#chart .as-table")
    page.page.wait_for_selector("#chart tbody tr")
    served.feed.show("phase", desk.NOW, desk.phase(date(2026, 11, 23), desk.NOW))
    eventually(lambda: page.page.text_content("#chart .summary") == "SPX: no prices yet.", 20)
