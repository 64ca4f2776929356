"""The HTTP API over a desk's ledgers, market data and pushed facts, served by its own process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
import pytest

from commands.control import ControlServer
from domain.instants import SECOND
from storage.queries import LedgerReader
from tests.testkit import ledger_asks as ask
from tests.testkit import web_desk as desk
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import TOKEN, Desk, shown

T = TypeVar("T")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-0[45]:00")
NUMBER = (int, float)
AUTH = {"x-zerohour-token": TOKEN}
FIRST = re.compile(r'<script type="application/json" id="first">(.*?)</script>')


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    desk.write_desk(folder)
    # All of it happened between 10:00 and 10:01, and the clock stands at 10:02.
    with shown(folder, desk.settings(folder, public={"is_on": True, "delay_ms": 130_000})) as made:
        yield made


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk that has written nothing yet."""
    with shown(tmp_path_factory.mktemp("bare")) as made:
        yield made


def awaited(ask: Callable[[], T | None]) -> T:
    """Return the first answer that is one."""
    found: list[T] = []

    def is_there() -> bool:
        answer = ask()
        found.extend([] if answer is None else [answer])
        return bool(found)

    eventually(is_there)
    return found[0]


def assert_fields(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, kind in wanted.items():
        assert name in found, name
        if isinstance(kind, re.Pattern):
            assert kind.fullmatch(found[name]), (name, found[name])
        else:
            assert isinstance(found[name], kind), (name, found[name])
            assert kind is bool or not isinstance(found[name], bool), name


def test_status_has_the_fields_and_types_of_the_systems_before(served: Desk) -> None:
    found = served.get("/api/status").json()
    assert_fields(
        found,
        {
            "is_trading": bool, "is_connected": bool, "open_positions": int, "trades_today": int, "mode": str,
            "kill_level": int,
        },
    )  # fmt: skip
    assert (found["is_trading"], found["open_positions"], found["trades_today"]) == (True, 1, 1)
    assert (found["mode"], found["kill_level"], found["phase"]) == ("FULLY_LIVE", 0, "entry")


def test_the_page_comes_with_where_the_desk_stands(served: Desk) -> None:
    first = FIRST.search(served.get("/").text)
    assert first is not None
    told = orjson.loads(first[1])
    assert (told["status"]["kill_level"], told["status"]["mode"]) == (0, "FULLY_LIVE")
    assert told["performance"]["total_pnl"] == 80.0
    assert told["market"]["spx_price"] == desk.spot_at(desk.LAST) / 100
    assert "DU***67" in first[1]
    assert desk.ACCOUNT not in first[1]


def test_positions_tell_what_is_held_and_which_exit_is_nearest(served: Desk) -> None:
    (found,) = served.get("/api/positions").json()
    assert_fields(
        found,
        {
            "trade_id": str, "entry_time": INSTANT, "spx_strike": NUMBER, "entry_credit": NUMBER,
            "current_pnl": NUMBER, "status": str,
        },
    )  # fmt: skip
    assert (found["spy_strike"], found["spx_strike"], found["status"]) == (None, 6015.0, "open")
    assert (found["entry_credit"], found["current_pnl"]) == (-1000.0, 200.0)  # 2 bought at 5.00, now 6.00 at mid
    assert found["greeks"]["delta"] == 102.0
    assert found["nearest"] == found["exits"][0]
    left = [exit_["left"] for exit_ in found["exits"]]
    assert left == sorted(left)
    assert {exit_["reason"] for exit_ in found["exits"]} >= {"take_profit", "premium_stop", "max_hold", "eod"}


def test_trades_are_the_closed_positions_newest_first_up_to_the_limit(served: Desk) -> None:
    (found,) = served.get("/api/trades?limit=50").json()
    assert_fields(
        found,
        {
            "id": str, "trade_date": re.compile(r"\d{4}-\d\d-\d\d"), "entry_credit": NUMBER, "final_pnl": NUMBER,
            "exit_reason": str, "status": str,
        },
    )  # fmt: skip
    assert (found["final_pnl"], found["exit_reason"], found["status"]) == (-120.0, "premium_stop", "closed")
    assert (found["entry_price"], found["exit_price"], found["fees"]) == (5.05, 4.5, 2.6)


def test_the_account_is_told_with_a_masked_number(served: Desk) -> None:
    found = served.get("/api/account").json()
    assert_fields(
        found,
        {
            "account_id": str, "net_liquidation": NUMBER, "total_cash": NUMBER, "available_funds": NUMBER,
            "buying_power": NUMBER,
        },
    )  # fmt: skip
    assert (found["account_id"], found["total_cash"]) == ("DU***67", 299_000.0)


def test_market_has_both_prices_and_their_ratio(served: Desk) -> None:
    found = served.get("/api/market").json()
    assert_fields(found, {"spy_price": NUMBER, "spx_price": NUMBER, "ratio": NUMBER})
    assert found["spx_price"] == desk.spot_at(desk.LAST) / 100
    assert found["ratio"] == pytest.approx(10, abs=0.01)


def test_performance_is_the_day_between_its_stops(served: Desk) -> None:
    found = served.get("/api/performance").json()
    assert_fields(
        found,
        {
            "daily_realized_pnl": NUMBER, "unrealized_pnl": NUMBER, "total_pnl": NUMBER, "max_daily_loss": NUMBER,
            "risk_breached": bool, "trades_count": int, "active_positions": int,
        },
    )  # fmt: skip
    assert (found["daily_realized_pnl"], found["unrealized_pnl"], found["total_pnl"]) == (-120.0, 200.0, 80.0)
    assert found["held_realized_pnl"] == 0.0
    assert (found["max_daily_loss"], found["hard_stop"], found["soft_stop"]) == (6_000.0, -6_000.0, -4_500.0)


def test_alerts_say_what_became_of_them_and_refusals_what_was_measured(served: Desk) -> None:
    alerts = {row["at"]: row["became"] for row in served.get("/api/alerts").json()}
    assert sorted(alerts.values()) == ["stale_quote", "traded", "traded"]
    found = served.get("/api/gates").json()
    assert found["counts"] == {"accepted": 2, "stale_quote": 1}
    (refused,) = found["refusals"]
    assert (refused["gate"], refused["measured"], refused["limit"]) == ("quote_fresh", 4000, 3000)
    assert refused["text"] == "4 s against 3 s"


def test_a_day_has_bars_levels_and_gamma_by_strike(served: Desk) -> None:
    day = served.get("/api/day?ticker=SPX").json()
    assert (day["session"], day["last"], day["buckets"]) == ("2026-11-20", desk.LAST, 780)
    assert len(day["bars"]) == len(day["zero"]) == desk.LAST + 1
    assert day["bars"][10][3] == desk.spot_at(10) / 100
    assert day["bars"][10][0] == desk.spot_at(9) / 100
    heat = served.get("/api/heat?ticker=SPX").content
    assert len(heat) == (desk.LAST + 1) * len(day["strikes"])
    column = [byte - 256 if byte > 127 else byte for byte in heat[: len(day["strikes"])]]
    assert max(map(abs, column)) == 127
    below = [cell for strike, cell in zip(day["strikes"], column, strict=True) if strike < day["bars"][0][3] - 20]
    assert max(below) <= 0
    rest = served.get(f"/api/day?ticker=SPX&since={desk.LAST - 3}").json()
    assert rest["bars"] == day["bars"][-3:]


def test_a_bucket_that_is_stored_later_is_read_and_pushed(served: Desk) -> None:
    known = served.get("/api/day?ticker=QQQ").json()
    last = known["last"]
    follow = f"/events?ticker=QQQ&since={last}&grid={known['grid']}"
    with httpx.stream("GET", served.url + follow, timeout=60) as events:
        desk.write_market(served.folder.root, last + 1, last + 2, ("QQQ",))
        served.feed.show("reading:QQQ", desk.NOW, desk.reading_of(last + 2, "QQQ"))
        news = next(line for line in events.iter_lines() if f'"last":{last + 2}' in line)
    assert f"{desk.spot_at(last + 2) // 10 / 100}" in news
    assert '"is_gap"' not in news
    assert served.get(f"/api/day?ticker=QQQ&since={last}").json()["last"] == last + 2


def test_an_unknown_ticker_and_a_wrong_limit_are_refused_in_words(served: Desk) -> None:
    answer = served.get("/api/day?ticker=NOPE")
    assert answer.status_code == 404
    assert "choose one of SPX, QQQ" in answer.json()["detail"]
    assert served.get("/api/trades?limit=0").status_code == 422


def test_no_answer_holds_an_account_number(served: Desk) -> None:
    alarms = served.get("/api/alarms").text
    assert "DU***67" in alarms
    paths = [path for path in served.get("/openapi.json").json()["paths"] if "{" not in path and path != "/events"]
    assert len(paths) >= 14
    for path in paths:
        text = served.get(f"{path}?ticker=SPX").text
        assert desk.ACCOUNT not in text, path


def test_a_pushed_message_holds_no_account_number(served: Desk) -> None:
    with httpx.stream("GET", served.url + "/events?ticker=SPX", timeout=60) as events:
        alarm = next(line for line in events.iter_lines() if "The gateway knows account" in line)
    assert "DU***67" in alarm
    assert desk.ACCOUNT not in alarm


def test_the_chain_of_a_trade_is_told_by_any_of_its_references(served: Desk) -> None:
    found = served.get(f"/api/why/{ask.ref(1)}").json()
    assert found["alert_id"] == ask.alert_id(1)
    kinds = [step["kind"] for step in found["steps"]]
    assert sorted(kinds) == ["alert", "exit", "fill", "fill", "gates", "lost", "order", "reading"]
    assert [step["at"] for step in found["steps"]] == sorted(step["at"] for step in found["steps"])
    assert "2 at 5.05; its limit of 5.00 was raised while it worked" in [step["text"] for step in found["steps"]]
    assert found["steps"][-1]["text"] == "premium stop, \u2212120.00 net of 2.60 fees"
    assert served.get(f"/api/why/{ask.alert_id(1)}").json()["steps"] == found["steps"]
    refused = served.get(f"/api/why/{ask.alert_id(2)}").json()["steps"]
    assert "stale quote at gate quote fresh: 4 s against 3 s" in [step["text"] for step in refused]
    assert served.get("/api/why/nothing").status_code == 404


def test_weeks_lifetime_shadows_and_gaps_are_told(served: Desk) -> None:
    (week,) = served.get("/api/weekly").json()
    assert (week["monday"], week["trades"], week["net_pnl"], week["fill_rate"]) == ("2026-11-16", 1, -120.0, 1.0)
    assert (week["accepted"], week["refused"]) == (2, 1)
    lifetime = served.get("/api/lifetime").json()
    assert (lifetime["starts"], lifetime["positions"], lifetime["alerts"], lifetime["interventions"]) == (1, 1, 3, 0)
    assert (lifetime["kills"], lifetime["disconnects"]) == (0, 0)
    assert (lifetime["broker_disconnects"], lifetime["broker_breaks"]) == (0, [])
    around = served.get("/api/context").json()
    assert (around["session"], around["sessions_before"], len(around["correlations"])) == ("2026-11-20", 0, 6)
    assert lifetime["rows"] >= 2 * (desk.LAST + 1)
    assert served.get("/api/shadows").json() == []
    gap = served.get("/api/gaps").json()[-1]
    assert (gap["hub"], gap["why"], gap["tickers"], gap["groups"]) == ("classic", "silent", ["QQQ", "SPX"], 2)
    assert gap["from_time"].startswith("2026-11-20T10:01:30")


def test_the_pipeline_has_three_stages_with_their_last_signs_of_life(served: Desk) -> None:
    stages = {stage["name"]: stage for stage in served.get("/api/pipeline").json()}
    assert list(stages) == ["ingest", "signal", "execution"]
    assert {stage["state"] for stage in stages.values()} == {"operational"}
    assert all(INSTANT.fullmatch(stage["last"]) for stage in stages.values())
    assert stages["ingest"]["detail"] == "1 of 1 hubs"


def test_alerts_are_followed_to_their_outcome_and_rates_are_told_with_their_n(served: Desk) -> None:
    newest, *_, first = awaited(lambda: _with_outcomes(served))
    assert (first["outcome"], first["first"]) == ("target in 1 min", "target")
    assert newest["is_resolved"] is False
    (rate,) = served.get("/api/rates").json()
    assert (rate["kind"], rate["n"], rate["rate"], rate["followed"]) == ("GAMMA_FLIP", 0, None, 3)


def _with_outcomes(served: Desk) -> list[dict[str, Any]] | None:
    alerts: list[dict[str, Any]] = served.get("/api/alerts").json()
    return alerts if alerts[-1]["outcome"] else None


def test_metrics_tell_money_positions_and_actors(served: Desk) -> None:
    text = served.get("/metrics").text
    assert "zerohour_open_positions 1.0" in text
    assert "zerohour_realized_usd -120.0" in text
    assert 'zerohour_actor_mail{actor="hub:classic"} 2.0' in text
    assert 'zerohour_actor_conflated{actor="hub:classic"} 3.0' in text


def test_prices_that_gave_way_to_newer_ones_are_counted_for_people(served: Desk) -> None:
    assert served.get("/api/actors").json()["conflated"] == 3


# -- actions ------------------------------------------------------------------------------------


def test_an_action_with_the_runs_token_reaches_the_supervisor_with_who_and_why(served: Desk) -> None:
    answer = served.post("/api/action/stop", {"reason": "lunch", "command_id": "web:1"}, **AUTH)
    assert (answer.status_code, answer.json()["done"]) == (200, "kill was carried out")
    asked = served.asked[-1]
    assert (asked["do"], asked["level"], asked["reason"], asked["by"]) == ("kill", 1, "lunch", "dashboard (127.0.0.1)")
    assert asked["command_id"] == "web:1"
    eventually(lambda: served.get("/api/status").json()["kill_level"] == 1)
    served.post("/api/action/start", {"reason": "back", "expected_epoch": 1}, **AUTH)
    assert (served.asked[-1]["do"], served.asked[-1]["level"], served.asked[-1]["expected_epoch"]) == ("resume", 0, 1)


def test_entries_are_started_only_against_the_kill_epoch_that_was_seen(served: Desk) -> None:
    before = len(served.asked)
    answer = awaited(lambda: _unless_too_fast(served, "/api/action/start", {"reason": "back"}))
    assert (answer.status_code, answer.json()["denied"]) == (409, "epoch_missing")
    assert len(served.asked) == before


def test_an_id_that_was_used_for_something_else_is_a_conflict(served: Desk) -> None:
    served.refuse = {"denied": "id_reused", "detail": "web:1 was another command."}
    try:
        answer = awaited(lambda: _unless_too_fast(served, "/api/action/start", {"expected_epoch": 1}))
    finally:
        served.refuse = None
    assert (answer.status_code, answer.json()["denied"]) == (409, "id_reused")


SIGNAL = {
    "signal_id": "model:1", "ticker": "SPX", "kind": "MODEL", "direction": 1, "price": 6015.5, "target": 6030,
    "stop": 6008.25,
}  # fmt: skip
FOR_SIGNALS = {"authorization": "Bearer a-token-for-signals-alone"}


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk that takes signals from outside."""
    folder = tmp_path_factory.mktemp("taking")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ZEROHOUR_SIGNALS_TOKEN", "a-token-for-signals-alone")
        with shown(folder, desk.settings(folder, lanes={"outside": ["SPX"]}, outside={"kinds": {"MODEL": 1}})) as made:
            yield made


def test_a_signal_from_outside_reaches_the_supervisor_in_ticks(taking: Desk) -> None:
    answer = taking.post("/api/signals", SIGNAL, **FOR_SIGNALS)
    assert (answer.status_code, answer.json()["done"]) == (200, "signal was carried out")
    asked = taking.asked[-1]
    assert (asked["do"], asked["entry_ticks"], asked["target_ticks"], asked["stop_ticks"]) == (
        "signal", 601_550, 603_000, 600_825
    )  # fmt: skip
    assert (asked["signal_id"], asked["version"], asked["horizon_ms"]) == ("model:1", 1, 1_800_000)


@pytest.mark.parametrize(
    ("changes", "headers", "status"),
    [
        ({}, {}, 401),
        ({}, AUTH, 401),
        ({}, FOR_SIGNALS | {"origin": "http://evil.example"}, 403),
        ({"direction": 0}, FOR_SIGNALS, 422),
        ({"price": -1}, FOR_SIGNALS, 422),
        ({"ticker": "spx"}, FOR_SIGNALS, 422),
        ({"qty": 100}, FOR_SIGNALS, 422),
    ],
)
def test_a_signal_that_may_not_or_cannot_be_meant_is_refused(
    taking: Desk, changes: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    before = len(taking.asked)
    eventually(lambda: taking.post("/api/signals", SIGNAL | changes, **headers).status_code == status)
    assert len(taking.asked) == before


def test_signals_are_refused_where_no_lane_takes_them(bare: Desk) -> None:
    eventually(lambda: bare.post("/api/signals", SIGNAL, **FOR_SIGNALS).status_code == 403)


def test_an_action_without_a_supervisor_is_answered_in_a_sentence(bare: Desk) -> None:
    bare.control.close()
    answer = awaited(lambda: _unless_too_fast(bare, "/api/action/stop", {}))
    assert (answer.status_code, answer.json()["error"][:23]) == (503, "No supervisor runs on /")
    bare.control = ControlServer(bare.folder.control, bare.answer)


def _unless_too_fast(served: Desk, path: str, body: Any) -> httpx.Response | None:
    answer = served.post(path, body, **AUTH)
    return None if answer.status_code == 429 else answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x-zerohour-token": "guessed"}, 401),
        ({"authorization": "Bearer guessed"}, 401),
        (AUTH | {"origin": "http://evil.example"}, 403),
        (AUTH | {"content-type": "text/plain"}, 415),
        (AUTH | {"host": "evil.example"}, 421),
        (AUTH | {"host": "127.evil.example"}, 421),
        (AUTH | {"sec-fetch-site": "cross-site"}, 403),
        (AUTH | {"transfer-encoding": "chunked"}, 411),
    ],
)
def test_an_action_that_does_not_come_from_the_page_is_refused(
    served: Desk, headers: dict[str, str], status: int
) -> None:
    before = len(served.asked)
    eventually(lambda: served.post("/api/action/close_all", **headers).status_code == status)
    assert len(served.asked) == before


def test_a_read_by_another_hosts_name_is_refused(served: Desk) -> None:
    assert served.get("/api/positions", host="evil.example:5000").status_code == 421
    assert served.get("/api/positions", host="localhost:5000").status_code == 200


def test_a_stream_of_a_ticker_that_nobody_follows_is_refused_and_injects_nothing(served: Desk) -> None:
    asked = "X%0Aevent:%20status%0Adata:%20{}%0A%0A"
    assert served.get(f"/events?ticker={asked[:12]}").status_code in (404, 422)
    assert served.get("/events?ticker=X%0Aa").status_code == 404


@pytest.mark.slow
def test_a_ledger_that_cannot_be_read_is_never_an_empty_desk(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    (tmp_path / "ledgers" / "paper.db").write_bytes(b"no ledger at all" * 400)
    with shown(tmp_path) as broken:
        status = broken.get("/api/status").json()
        assert (status["open_positions"], status["trades_today"]) == (None, None)
        assert "paper.db" in " ".join(status["troubles"])
        for path in ("/api/positions", "/api/trades", "/api/performance", "/api/weekly", "/api/lifetime"):
            answer = broken.get(path)
            assert (answer.status_code, "paper.db" in answer.json()["detail"]) == (503, True), path
        assert "zerohour_realized_usd" not in broken.get("/metrics").text


def test_a_folder_without_ledgers_is_shown_empty(bare: Desk) -> None:
    assert bare.get("/api/positions").json() == []
    assert bare.get("/api/performance").json()["hard_stop"] is None
    assert bare.get("/api/status").json()["troubles"] == []


def test_actions_are_limited_per_client(bare: Desk) -> None:
    codes = [bare.post("/api/action/stop", **AUTH).status_code for _ in range(5)]
    assert codes == [200] * 5
    with ThreadPoolExecutor(20) as many:  # at once: a slow machine earns an action a second back meanwhile
        codes += many.map(lambda _: bare.post("/api/action/stop", **AUTH).status_code, range(60))
    assert 429 in codes
    assert len(bare.asked) == codes.count(200)


def test_a_supervisor_that_does_not_answer_is_said_in_a_sentence(bare: Desk) -> None:
    bare.control.close()
    eventually(lambda: bare.get("/api/status").json()["troubles"])
    (trouble,) = bare.get("/api/status").json()["troubles"]
    assert trouble.startswith("No supervisor runs on")
    assert bare.get("/healthz").json() == {"status": "ok", "supervisor": "does not answer"}
    bare.control = ControlServer(bare.folder.control, bare.answer)
    eventually(lambda: not bare.get("/api/status").json()["troubles"])


def test_the_dashboard_only_reads_the_ledgers(served: Desk) -> None:
    before = LedgerReader(served.folder.ledgers, "paper").commands()
    served.get("/api/trades")
    assert LedgerReader(served.folder.ledgers, "paper").commands() == before


def test_the_public_listener_tells_what_is_old_enough_and_does_nothing(served: Desk) -> None:
    asked = len(served.asked)
    with httpx.Client(base_url=served.public_url, timeout=60) as public:
        feeds = ("/api/alerts", "/api/trades", "/api/fills")
        assert [public.get(path).json() for path in feeds] == [[], [], []]
        later = desk.NOW + 3 * 60 * SECOND
        served.feed.show("spots:SPX", later, desk.spots(desk.spot_at(desk.LAST), later))
        eventually(lambda: public.get("/api/trades").json())
        assert [len(public.get(path).json()) for path in feeds] == [3, 1, 3]
        assert public.get("/api/weekly").json() == []  # of the days before, as this one runs
        assert public.post("/api/action/stop", json={}, headers=AUTH).status_code == 405
        unknown = ("/", "/api/status", "/api/account", "/api/hello", "/events", "/metrics", "/api/positions")
        assert {public.get(path).status_code for path in unknown} == {404}
    assert len(served.asked) == asked
