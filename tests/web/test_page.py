"""The dashboard in a real browser: every panel fills, the controls act, a break leaves no hole, nothing calls out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Route

from domain.alarm import Severity
from domain.instants import BUCKET_NS
from messages import operator
from tests.testkit import web_desk as desk
from tests.testkit.browser import PHONE, WIDE, Watched, chromium
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import Desk, serving, shown

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
    page.wait_for_text("#account", "300,000")
    page.wait_for_text("#market", "Ratio")
    page.wait_for_text("#stages", "1 of 1 hubs")
    page.wait_for_text("#fills tbody tr", "SPXW 6015C")
    page.wait_for_text("#weeks tbody tr", "2026-11-16")
    page.wait_for_text("#alerts tbody tr", "target in 1 min")
    page.wait_for_text("#shadows-title", "Shadow log")
    page.wait_for_text("#forces", "gamma")
    page.wait_for_text("#alarms", "DU***67")
    assert page.page.get_attribute("#alarms li", "title") == "In the runbook: gateway"
    page.wait_for_text("#actors tbody tr", "risk:paper")
    page.wait_for_text("#correlations tbody tr", "SPY/QQQ")
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
        eventually(partial(is_drawn, page, figure))


def test_a_page_that_is_ready_shows_everything_and_has_asked_for_one_script(page: Watched) -> None:
    scripts = page.page.evaluate(
        "performance.getEntriesByType('resource').map(one => one.name).filter(name => name.endsWith('.js'))"
    )
    assert [script.rpartition("/")[2] for script in scripts] == ["app.js"]
    page.wait_for_text("#alerts tbody", "SPX gamma flip")  # the process has read everything once
    page.page.reload()
    page.page.wait_for_selector("html[data-ready]")
    for table in ("#positions tbody", "#trades tbody", "#alerts tbody", "#stages", "#account"):
        assert page.text(table), table


def test_on_a_phone_a_position_tells_its_greeks_and_its_nearest_exits(browser: Browser, served: Desk) -> None:
    phone = Watched(browser, served.url, size=PHONE)
    phone.wait_for_text("#positions .more", "delta +102 (+613,567 $), gamma +4.0")
    assert "take profit 7.50 (60 % left)" in phone.text("#positions .more")
    assert not phone.page.is_visible("#positions th:has-text('Nearest exit')")
    assert phone.page.input_value("#window") == "60"  # so that a candle is still one
    phone.context.close()


def test_a_spread_shows_its_exits_and_each_underlying_its_own_greeks(browser: Browser, tmp_path: Path) -> None:
    desk.write_spread(tmp_path)
    with shown(tmp_path) as made:
        for con_id, ticks, delta in ((1, 300, 0.6), (22, 180, 0.5)):
            made.feed.show(f"quote:{con_id}", desk.NOW, desk.quoted(con_id, ticks, delta))
        watched = Watched(browser, made.url)
        watched.wait_for_text("#book", "SPY delta")
        box = "box => box.scrollWidth <= box.clientWidth"
        assert watched.page.eval_on_selector("#positions .scroll", box), "no column is cut"
        book = " ".join(watched.text("#book").split())
        assert "SPX delta +60" in book
        assert "SPY delta \N{MINUS SIGN}500" in book
        assert "Delta $ +60,157" in book, "60 times 6,015.36 less 500 times a tenth of it"
        assert not watched.page.locator("#book dt", has_text="Book").count(), "nothing is summed over both but dollars"
        watched.wait_for_text("#positions tbody tr", "joint loss \N{MINUS SIGN}500 $")
        for leg in watched.page.locator("#positions .more").all_inner_texts():
            assert "all legs \N{MINUS SIGN}158.00 $" in leg
            assert "assignment SPY 610.00" in leg
            assert "eod" not in leg
            assert "day end 15:45" in leg
        made.feed.show("quote:22", desk.NOW, desk.quoted(22, 180, None))
        watched.wait_for_text("#book dd", "\N{EN DASH}")
        assert watched.complaints == []
        watched.context.close()


def test_the_chain_of_what_was_clicked_comes_into_view(browser: Browser, served: Desk) -> None:
    phone = Watched(browser, served.url, size=PHONE)
    phone.page.click("#alerts td button")
    phone.wait_for_text("#why", "Alert")
    title = phone.page.locator("#why-title")

    def is_in_view() -> bool:
        box = title.bounding_box()
        return box is not None and 0 <= box["y"] <= PHONE["height"] - box["height"]

    eventually(is_in_view)
    phone.context.close()


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
    eventually(lambda: plot.screenshot() != before)


def test_another_ticker_and_theme_are_shown_and_remembered(page: Watched) -> None:
    page.page.select_option("#ticker", "QQQ")
    page.wait_for_text("#ticker-name", "QQQ")
    eventually(partial(is_drawn, page, "#chart"))
    page.page.click("#options")
    page.page.select_option("#theme", "light")
    page.page.reload()
    page.page.wait_for_selector("html[data-ready]")
    assert page.page.get_attribute("html", "data-theme") == "light"
    assert page.page.input_value("#ticker") == "QQQ"


def test_an_answer_that_comes_after_another_ticker_was_chosen_is_not_drawn(page: Watched) -> None:
    held: list[Route] = []
    page.page.route("**/api/day?ticker=QQQ*", lambda route: held.append(route))  # noqa: PLW0108 - no builtin is taken
    page.page.select_option("#ticker", "QQQ")
    eventually(lambda: page.page.evaluate("0") == 0 and len(held) == 1)  # what is asked lets the page call us
    page.page.select_option("#ticker", "SPX")
    page.wait_for_text("#chart .summary", "SPX ")
    known = page.page.text_content("#chart .summary")
    with page.page.expect_response("**/api/day?ticker=QQQ*"):
        held[0].continue_()
    page.page.click("#chart .as-table")
    page.page.wait_for_selector("#chart tbody tr")
    assert page.text("#chart tbody tr:first-child").split()[4] == f"{desk.spot_at(desk.LAST) / 100:,.2f}"
    assert page.page.text_content("#chart .summary") == known


@pytest.mark.slow
def test_columns_window_and_sound_are_a_persons_choice_and_remembered(page: Watched, served: Desk) -> None:
    page.wait_for_text("#fills tbody tr", "SPXW 6015C")
    page.page.click("#options")
    page.page.uncheck('[data-column="Live fills/Fee $"]')
    page.page.check("#sound")
    page.page.click("#choices button[value=yes]")
    page.page.select_option("#window", "60")
    page.page.reload()
    page.page.wait_for_selector("html[data-ready]")
    page.wait_for_text("#fills tbody tr", "SPXW 6015C")
    assert not page.page.is_visible("#fills thead th:nth-child(7)")
    assert page.page.is_visible("#fills thead th:nth-child(6)")
    assert (page.page.input_value("#window"), page.page.is_checked("#sound")) == ("60", True)
    page.page.click("#options")
    page.page.click("#choices-reset")
    page.page.click("#choices button[value=yes]")
    assert page.page.is_visible("#fills thead th:nth-child(7)")


@pytest.mark.slow
def test_texts_from_outside_are_shown_as_they_are_and_run_nothing(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><b>"
    desk.write_desk(tmp_path, words=evil)
    with shown(tmp_path, account=evil) as made:
        made.kill = made.kill | {"level": 1, "reason": evil, "by": evil}
        made.feed.show("alarm:evil", desk.NOW, operator.Alarm(
            key=evil, severity=Severity.HIGH, text=evil, at_utc=desk.NOW
        ))  # fmt: skip
        made.refuse = {"denied": "no", "detail": evil}
        watched = Watched(browser, made.url)
        watched.wait_for_text("#alarms", evil)
        watched.wait_for_text("#refusals", evil)
        watched.wait_for_text("#account", "<img")
        watched.wait_for_text("#kill", "Kill level 1")
        assert evil in (watched.page.get_attribute("#kill", "title") or "")
        watched.page.click("#entries")
        assert evil in watched.page.inner_text("#ask-text")
        watched.page.fill("#ask-reason", evil)
        watched.page.click("#ask-yes")
        watched.wait_for_text("#notice", evil)
        watched.page.click("#refusals td button")
        watched.wait_for_text("#why", evil)
        assert watched.page.locator("main img, main b img, main script").count() == 0
        assert watched.page.title() != "owned"
        assert watched.complaints == ["Failed to load resource: the server responded with a status of 409 (Conflict)"]
        with pytest.raises(Error, match="TrustedHTML"):
            watched.page.evaluate("document.body.innerHTML = '<b>'")
        policy = httpx.get(made.url, timeout=60).headers["content-security-policy"]
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'")
        watched.context.close()


@pytest.mark.slow
def test_the_end_of_a_day_is_said_and_leaves_the_page_readable(browser: Browser, tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    with shown(tmp_path) as made:
        watched = Watched(browser, made.url)
        watched.wait_for_text("#positions tbody tr", "SPXW 6015C")
        made.feed.close()
        watched.wait_for_text(
            "#ended", "The supervisor was stopped at 10:02 New York. 1 position open, and nobody watches"
        )
        watched.wait_for_text("#ended", "main.py dashboard")
        watched.wait_for_text("#link", "Ended")
        assert not watched.page.is_visible("#lost")
        assert watched.page.is_disabled("#close-all")
        assert "SPXW 6015C" in watched.text("#positions")
        watched.context.close()


@pytest.mark.slow
def test_nothing_is_held_is_not_said_before_it_is_known(browser: Browser, tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    (tmp_path / "ledgers" / "paper.db").write_bytes(b"no ledger at all" * 400)
    with shown(tmp_path) as made:
        watched = Watched(browser, made.url)
        watched.wait_for_text("#troubles", "paper.db")
        assert not watched.page.is_visible("#positions .empty")
        watched.context.close()


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
    watched.wait_for_text("#link", "Ended")
    assert "SPXW 6015C" in watched.text("#positions")
    desk.write_market(tmp_path, desk.LAST + 1, desk.LAST + 6)
    with shown(tmp_path, settings, port=first.port, run_n=2) as again:
        assert again.url == first.url
        again.feed.show("reading:SPX", desk.NOW + 6 * BUCKET_NS, desk.reading_of(desk.LAST + 6))
        watched.wait_for_text("#link", "Live")
        assert not watched.page.is_visible("#ended")
        watched.page.click("#chart .as-table")
        watched.wait_for_text("#chart tbody tr:first-child", "10:04")
        rows = watched.page.locator("#chart tbody tr :first-child").all_inner_texts()
        assert rows[:5] == ["10:04", "10:03", "10:02", "10:01", "10:00"]
        watched.page.click("#entries")  # with the token of the new run
        watched.wait_for_text("#kill", "Kill level 1")
    watched.context.close()


@pytest.mark.slow
def test_a_line_that_breaks_is_said_with_its_time_until_it_is_back(browser: Browser, tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    with shown(tmp_path) as made:
        watched = Watched(browser, made.url)
        watched.wait_for_text("#link", "Live")
        serving(made.url).kill()
        watched.wait_for_text("#lost", "Connection lost at")
        watched.page.wait_for_selector("#lost", state="hidden")
        watched.wait_for_text("#positions tbody tr", "SPXW 6015C")
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
    eventually(lambda: page.page.text_content("#chart .summary") == "SPX: no prices yet.")
