"""The simulated REST broker as any client sees it, and the control port that sets its faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from simulation.broker.exchange import Exchange
from simulation.tastytrade.control import TastytradeControl
from tests.testkit.tastytrade_world import SECRET, World, rest_broker

LEG = {
    "instrument-type": "Equity Option", "symbol": "SPXW  261120C06000000", "quantity": 2, "action": "Buy to Open",
}  # fmt: skip
BODY = {
    "time-in-force": "Day", "order-type": "Limit", "price": "4.50", "price-effect": "Debit", "legs": [LEG],
    "external-identifier": "mine",
}  # fmt: skip


def ask(url: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any]:
    """Send a request as a stranger's client does; return status and body."""
    payload = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, payload, headers, method=method), timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        return refused.code, json.load(refused)


def token_of(world: World) -> str:
    body = {"grant_type": "refresh_token", "client_secret": SECRET[0], "refresh_token": SECRET[1]}
    status, told = ask(f"{world.server.rest_url}/oauth/token", "POST", body, **{"User-Agent": "mine/1.0"})
    assert status == 200
    return str(told["access_token"])


@contextmanager
def control(world: World) -> Iterator[str]:
    at = TastytradeControl(world.server)
    port = world.run(at.start())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        world.run(at.stop())


def test_a_request_without_token_user_agent_or_account_is_refused_as_the_vendor_does() -> None:
    with rest_broker() as world:
        url, agent = world.server.rest_url, {"User-Agent": "mine/1.0"}
        good = agent | {"Authorization": f"Bearer {token_of(world)}"}
        assert ask(f"{url}/customers/me/accounts", **agent)[0] == 401
        assert ask(f"{url}/customers/me/accounts", **(good | {"User-Agent": "nobody"}))[0] == 401
        assert ask(f"{url}/customers/me/accounts", **good)[0] == 200
        assert ask(f"{url}/accounts/5WT99999/positions", **good)[0] == 403
        assert ask(f"{url}/accounts/5WT00001/nothing", **good)[0] == 404
        assert ask(f"{url}/accounts/5WT00001/orders", "POST", {"legs": []}, **good)[0] == 422
        bad = {"grant_type": "refresh_token", "client_secret": "x", "refresh_token": "y"}
        assert ask(f"{url}/oauth/token", "POST", bad, **agent)[0] == 400


def test_a_full_replacement_is_taken_and_trades_what_is_left() -> None:
    with rest_broker() as world:
        headers = {"User-Agent": "mine/1.0", "Authorization": f"Bearer {token_of(world)}"}
        orders = f"{world.server.rest_url}/accounts/5WT00001/orders"
        status, told = ask(orders, "POST", BODY, **headers)
        assert (status, told["data"]["order"]["status"]) == (201, "Live")
        status, told = ask(f"{orders}/1", "PUT", BODY | {"price": "4.60"}, **headers)
        assert (status, told["data"]["replaces-order-id"], told["data"]["price"]) == (200, 1, "4.60")
        other = BODY | {"legs": [LEG | {"action": "Sell to Close"}], "price-effect": "Credit"}
        assert ask(f"{orders}/2", "PUT", other, **headers)[0] == 422
        _, told = ask(f"{orders}/live", **headers)
        assert {row["id"]: row["status"] for row in told["data"]["items"]} == {1: "Cancelled", 2: "Live"}


def test_an_order_id_is_given_once_whatever_becomes_of_the_order_and_of_the_session() -> None:
    with rest_broker() as world:
        headers = {"User-Agent": "mine/1.0", "Authorization": f"Bearer {token_of(world)}"}
        orders = f"{world.server.rest_url}/accounts/5WT00001/orders"

        def placed_id() -> int:
            return int(ask(orders, "POST", BODY, **headers)[1]["data"]["order"]["id"])

        assert placed_id() == 1
        world.do(lambda: world.server.turn(world.market, Exchange(world.market, latency_ms=1)))
        assert placed_id() == 2
        world.do(lambda: world.server.desk.placed.pop(2))  # it vanishes from every list
        assert placed_id() == 3


def test_faults_are_set_seen_and_ended_at_the_control_port_and_a_bad_record_changes_nothing() -> None:
    with rest_broker() as world, control(world) as url:
        trouble = {"request": "place", "status": 503, "is_done": True}
        status, told = ask(f"{url}/faults", "POST", {"is_silent": True, "troubles": [trouble]})
        assert (status, told["is_silent"], told["troubles"][0]["status"]) == (200, True, 503)
        assert world.faults.is_silent
        for bad in ({"is_silnt": True}, {"pieces": "many"}, {"troubles": [{"request": "nothing"}]}):
            status, told = ask(f"{url}/faults", "POST", bad)
            assert (status, told["error"].endswith("Nothing was done.")) == (400, True)
        assert world.faults.troubles[0].status == 503
        assert ask(f"{url}/faults", "DELETE")[1]["is_silent"] is False
        assert not world.faults.troubles
        assert ask(f"{url}/expire", "POST")[0] == 200
        assert ask(f"{url}/drop", "POST")[0] == 200
        assert ask(f"{url}/nothing")[0] == 404
        assert ask(f"{url}/faults", Host="broker.example")[0] == 403
