"""Several desks behind one dashboard: each has its own figures, nothing of another is hidden, nothing goes astray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.testkit import ledger_asks as ask
from tests.testkit import web_desk as desk
from tests.testkit.browser import PHONE, WIDE, Watched, chromium
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import TOKEN, shown
from tests.testkit.web_desks import NAMES, SeveralShown, several_shown

AUTH = {"x-zerohour-token": TOKEN}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeveralShown]:
    with several_shown(tmp_path_factory.mktemp("desks")) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


# -- the API --------------------------------------------------------------------------------------


def test_each_desk_has_a_line_of_its_own(several: SeveralShown) -> None:
    found = {line["desk"]: line for line in several.get("/api/desks").json()}
    assert list(found) == list(NAMES)
    assert [line["kind"] for line in found.values()] == ["paper", "live", "sim"]
    assert [line["open_positions"] for line in found.values()] == [1, 1, 0]
    assert [line["total_pnl"] for line in found.values()] == [80.0, 200.0, 180.0]
    assert [line["mode"] for line in found.values()] == ["FULLY_LIVE", "FULLY_LIVE", "DEGRADED"]
    assert [line["alarms"] for line in found.values()] == [1, 0, 1]


@pytest.mark.parametrize(
    ("name", "held", "closed", "nav", "fills", "account"),
    [
        ("", ["SPXW 6015C"], [-120.0], 300_000.0, 3, "DU***67"),
        ("paper", ["SPXW 6015C"], [-120.0], 300_000.0, 3, "DU***67"),
        ("real", ["SPXW 6025C"], [], 100_000.0, 1, "U***21"),
        ("model", [], [180.0], None, 2, None),
    ],
)
def test_what_is_asked_of_a_desk_is_told_of_that_desk(
    several: SeveralShown, name: str, held: list[str], closed: list[float], nav: float | None, fills: int,
    account: str | None,
) -> None:  # fmt: skip
    def get(path: str) -> Any:
        answer = several.get(f"{path}{'&' if '?' in path else '?'}desk={name}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert [row["contract"] for row in get("/api/positions")] == held
    assert [row["final_pnl"] for row in get("/api/trades")] == closed
    assert (get("/api/account")["net_liquidation"], get("/api/account")["account_id"]) == (nav, account)
    assert len(get("/api/fills")) == fills
    assert (get("/api/status")["desk"], get("/api/status")["desks"]) == (name or "paper", list(NAMES))
    assert get("/api/performance")["trades_count"] == len(closed)
    assert get("/api/weekly")[0]["trades"] == len(closed)
    marks = get("/api/day?ticker=SPX")["marks"]
    assert {text for _, _, text in marks if text.endswith("C")} >= {contract[5:] for contract in held}
    became = {row["alert_id"]: row["became"] for row in get("/api/alerts")}
    assert became[ask.alert_id(5)] == ("traded" if name == "real" else None)


def test_a_desk_that_there_is_not_is_refused_in_a_sentence(several: SeveralShown) -> None:
    for path in ("/api/status", "/api/positions", "/events"):
        answer = several.get(f"{path}?desk=nobody")
        assert (answer.status_code, answer.json()["detail"]) == (
            404, "There is no desk 'nobody'; choose one of paper, real, model."
        )  # fmt: skip


def test_alarms_of_every_desk_are_told_with_whose_they_are(several: SeveralShown) -> None:
    assert {(line["desk"], line["key"]) for line in several.get("/api/alarms?desk=real").json()} == {
        ("paper", "gateway"), ("model", "read_back"), (None, "disk"),
    }  # fmt: skip


def test_an_alarm_of_a_session_is_over_by_its_own_desks_session(several: SeveralShown) -> None:
    over = {line["key"]: line["is_over"] for line in several.get("/api/alarms").json()}
    assert not over["read_back"], "that other sessions stand again ends no alarm of this one"


def test_a_page_is_pushed_its_own_desk_and_a_line_of_each(several: SeveralShown) -> None:
    with httpx.stream("GET", several.url + "/events?ticker=SPX&desk=real", timeout=60) as events:
        kind, told = "", dict[str, Any]()
        for line in events.iter_lines():
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: ") and kind != "day":
                told[kind] = orjson.loads(line[6:])
            if kind == "whole":
                break
    assert (told["status"]["desk"], told["performance"]["total_pnl"]) == ("real", 200.0)
    assert [row["contract"] for row in told["positions"]] == ["SPXW 6025C"]
    assert told["account"]["account_id"] == "U***21"
    assert [line["desk"] for line in told["desks"]] == list(NAMES)


def test_the_chain_of_an_order_is_found_at_whichever_desk_it_is(several: SeveralShown) -> None:
    assert several.get(f"/api/why/{ask.ref(5)}?desk=model").json()["alert_id"] == ask.alert_id(5)


def test_a_question_is_answered_for_the_desk_of_the_page_or_the_one_that_it_names(several: SeveralShown) -> None:
    def told(question: str, name: str) -> str:
        found: list[str] = []

        def asked() -> bool:
            answer = several.post("/api/ask", {"question": question, "desk": name})
            found.append(answer.json().get("text", ""))
            return answer.status_code == 200  # one question in a while is answered

        eventually(asked)
        return found[-1]

    assert "+180.00 USD" in told("how much did we make on 2026-11-20?", "model")
    assert "-120.00 USD" in told("how much did we make on 2026-11-20 at desk paper?", "model")
    assert several.post("/api/ask", {"question": "what is open?", "desk": "nobody"}).status_code in (404, 429)


def test_an_action_reaches_the_desk_that_it_names_and_no_other(several: SeveralShown) -> None:
    def act(what: str, **body: Any) -> httpx.Response:
        found: list[httpx.Response] = []

        def done() -> bool:
            found.append(several.post(f"/api/action/{what}", body, **AUTH))
            return found[-1].status_code != 429

        eventually(done)
        return found[-1]

    before = len(several.asked)
    assert act("stop", desk="real").status_code == 200
    assert (several.asked[-1]["do"], several.asked[-1]["desk"]) == ("kill", "real")
    levels = {line["desk"]: line["kill_level"] for line in several.get("/api/desks").json()}
    assert levels == {"paper": 0, "real": 1, "model": 1}
    answer = act("start", reason="back", expected_epoch=2)
    assert (answer.status_code, answer.json()["denied"]) == (409, "desk_missing")
    answer = act("stop", desk="nobody")
    assert (answer.status_code, answer.json()["denied"]) == (409, "unknown_desk")
    assert len(several.asked) == before + 1
    assert act("start", reason="back", expected_epoch=2, desk="real").status_code == 200
    assert (several.asked[-1]["do"], several.asked[-1]["desk"]) == ("resume", "real")
    act("close_all")
    assert "desk" not in several.asked[-1], "without a name it is for every desk"
    for name in NAMES:
        several.kills[f"kill:{name}"] |= {"level": int(name == "model")}


def test_figures_for_prometheus_have_the_desk_as_a_label(several: SeveralShown) -> None:
    eventually(lambda: 'zerohour_desk_kill_level{desk="model",kind="sim"} 1.0' in several.get("/metrics").text)
    assert 'zerohour_desk_total_usd{desk="real",kind="live"} 200.0' in several.get("/metrics").text


@pytest.mark.slow
def test_a_desk_whose_ledger_is_damaged_hides_no_other(tmp_path: Path) -> None:
    with several_shown(tmp_path / "whole") as made:
        (made.folder.ledgers / "real.db").write_bytes(b"no ledger at all" * 400)
        eventually(lambda: made.get("/api/desks").json()[1]["trouble"])
        lines = made.get("/api/desks").json()
        assert "real.db" in lines[1]["trouble"]
        assert [line["open_positions"] for line in lines] == [1, 1, 0], "what was read before stands, with the trouble"
        assert [line["trouble"] for line in lines if line["desk"] != "real"] == [None, None]
        assert [row["contract"] for row in made.get("/api/positions").json()] == ["SPXW 6015C"]
        assert made.get("/api/status").json()["troubles"] == [], "and the pages of the others are kept up to date"


def test_with_one_desk_nothing_of_it_is_told(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    with shown(tmp_path) as made:
        with httpx.stream("GET", made.url + "/events?ticker=SPX", timeout=60) as events:
            kinds = set[str]()
            for line in events.iter_lines():
                kinds |= {line[7:]} if line.startswith("event: ") else set()
                if line == "event: whole":
                    break
        assert "desks" not in kinds
        assert "status" in kinds
        assert "zerohour_desk_total_usd" not in made.get("/metrics").text


# -- the page -------------------------------------------------------------------------------------


def at(browser: Browser, several: SeveralShown, name: str, **how: Any) -> Watched:
    return Watched(browser, f"{several.url}/?desk={name}", **how)


def test_the_page_shows_the_desk_of_its_address_and_a_line_of_every_other(
    browser: Browser, several: SeveralShown
) -> None:
    watched = at(browser, several, "real")
    watched.wait_for_text("#positions tbody tr", "SPXW 6025C")
    assert "SPXW 6015C" not in watched.text("main")
    assert watched.text("#pnl") == "+200.00"
    assert watched.text("#desks [aria-current]").split() == ["LIVE", "real"]
    lines = watched.page.locator("#desk-lines tbody tr").all_inner_texts()
    assert [line.split()[:2] for line in lines] == [["PAPER", "paper"], ["LIVE", "real"], ["SIM", "model"]]
    assert "1 open" in lines[0] and "+80.00 $" in lines[0]
    assert "degraded" in lines[2] and "level 1" in lines[2] and "1 alarm" in lines[2]
    watched.wait_for_text("#alarms", "model: high: The broker cannot be read back")
    watched.wait_for_text("#alarm-chip", "2 alarms")
    assert watched.page.title().startswith("real (live)")
    assert watched.complaints == []
    watched.context.close()


def test_another_desk_is_chosen_by_its_link_and_the_address_keeps_it(browser: Browser, several: SeveralShown) -> None:
    watched = Watched(browser, several.url)
    assert watched.page.url.endswith("/?desk=paper"), "the first, and the address says so"
    watched.page.click("#desks a:has-text('model')")
    watched.page.wait_for_selector("html[data-ready]")
    watched.wait_for_text("#trades tbody tr", "+180.00")
    assert watched.text("#kill") == "Kill level 1"
    watched.page.reload()
    watched.page.wait_for_selector("html[data-ready]")
    assert watched.text("#desks [aria-current]").split() == ["SIM", "model"]
    watched.context.close()


def test_an_address_of_a_desk_that_there_is_not_shows_the_first_and_says_so(
    browser: Browser, several: SeveralShown
) -> None:
    watched = at(browser, several, "nobody")
    watched.wait_for_text("#notice", "There is no such desk here")
    assert watched.page.url.endswith("/?desk=paper")
    watched.wait_for_text("#positions tbody tr", "SPXW 6015C")
    watched.context.close()


def test_what_is_done_names_the_desk_and_goes_to_it_alone(browser: Browser, several: SeveralShown) -> None:
    watched = at(browser, several, "real")
    page = watched.page
    page.wait_for_selector("#entries:enabled")
    assert watched.text("#close-all").split() == ["Close", "all…", "real"]
    page.click("#close-all")
    assert watched.text("#ask-title") == "Close everything at real (LIVE money)?"
    assert "1 open position at real at market" in watched.text("#ask-text")
    assert watched.text("#ask-yes") == "Close all at real"
    page.click("#ask-yes")
    watched.wait_for_text("#notice", "Desk real (LIVE money): Everything is being closed")
    assert (several.asked[-1]["do"], several.asked[-1]["desk"]) == ("flatten", "real")
    watched.wait_for_text("#kill", "Kill level 2")
    assert {name: several.kills[f"kill:{name}"]["level"] for name in NAMES} == {"paper": 0, "real": 2, "model": 1}
    page.click("#entries")
    assert watched.text("#ask-title") == "Allow entries at real (LIVE money)?"
    assert not page.is_visible("#ask-where"), "entries are allowed at one desk at a time"
    page.fill("#ask-reason", "all is well")
    page.click("#ask-yes")
    watched.wait_for_text("#kill", "Kill level 0")
    assert (several.asked[-1]["do"], several.asked[-1]["desk"]) == ("resume", "real")
    page.click("#entries")
    page.select_option("#ask-where", "")
    assert watched.text("#ask-title") == "Stop entries at every desk?"
    page.click("#ask-yes")
    watched.wait_for_text("#notice", "Every desk: Entries are stopped")
    assert several.asked[-1]["do"] == "kill" and "desk" not in several.asked[-1]
    for name in NAMES:
        several.kills[f"kill:{name}"] |= {"level": int(name == "model")}
    watched.context.close()


def test_stop_is_two_presses_of_enter(browser: Browser, several: SeveralShown) -> None:
    watched = at(browser, several, "paper")
    watched.page.wait_for_selector("#entries:enabled")
    watched.wait_for_text("#entries", "Stop entries")  # the level that the test before has set is looked at each second
    watched.page.focus("#entries")
    watched.page.keyboard.press("Enter")
    watched.page.keyboard.press("Enter")
    watched.wait_for_text("#notice", "Desk paper (paper money): Entries are stopped")
    assert (several.asked[-1]["do"], several.asked[-1]["desk"]) == ("kill", "paper")
    several.kills["kill:paper"] |= {"level": 0}
    watched.context.close()


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "dark"), (WIDE, "light"), (PHONE, "dark"), (PHONE, "light")])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_page(
    browser: Browser, several: SeveralShown, size: dict[str, int], scheme: str
) -> None:
    watched = at(browser, several, "model", size=size, scheme=scheme)
    watched.wait_for_text("#alarms", "model")
    found: list[dict[str, Any]] = Axe().run(watched.page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found if v["impact"] in {"serious", "critical"}] == []
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    watched.context.close()
