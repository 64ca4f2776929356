"""The flatten that needs no actor, against the simulated REST broker: a request may fail, what is held is sold once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from domain.instruments import Side
from domain.orders.capabilities import TASTYTRADE
from domain.orders.table import OrderStatus
from domain.units import Qty
from gateways.brokers import BrokerSetupError, DirectSetup, direct_way
from gateways.contract_book import ContractBook
from gateways.direct import DirectError, Outcome, Way, flatten
from messages import broker
from simulation.tastytrade.faults import Request, Trouble
from tests.testkit.ibkr_world import settings_for
from tests.testkit.tastytrade_world import SECRET, World, dialled, place, rest_broker


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A broker at which a desk has bought two calls and then lost its supervisor."""
    monkeypatch.setenv("ZEROHOUR_TASTYTRADE_SECRET", SECRET[0])
    monkeypatch.setenv("ZEROHOUR_TASTYTRADE_TOKEN", SECRET[1])
    monkeypatch.delenv("ZEROHOUR_TASTYTRADE_ACCOUNT", raising=False)
    with rest_broker() as world:
        with dialled(world) as (port, heard):
            port.post(place(world))
            heard.wait(broker.OrderStatusReported, lambda fact: fact.status is OrderStatus.FILLED)
        yield world


def way_of(world: World, contracts: ContractBook | None = None, wait_s: float = 5.0, **tastytrade: Any) -> Way:
    """Return the way of the settings' broker with short looks; the account stream's address leads nowhere."""
    own: dict[str, Any] = {"rest_url": world.server.rest_url, "stream_url": "ws://127.0.0.1:9"}
    settings = settings_for(4002, heartbeat_max_ms=3_000)
    address = dataclasses.replace(settings.broker.tastytrade, **(own | tastytrade))
    orders = dataclasses.replace(settings.broker, orders=TASTYTRADE, tastytrade=address)
    settings = settings.model_copy(update={"broker": orders})
    book = ContractBook(world.market.contracts("SPX")) if contracts is None else contracts
    return direct_way(DirectSetup(settings, (), world.clock, None, book))._replace(wait_s=wait_s, look_s=0.1)


def close_all(
    world: World,
    owned: int = 2,
    contracts: ContractBook | None = None,
    more: dict[int, Qty] | None = None,
    **way: Any,
) -> tuple[Outcome, list[str]]:
    """Flatten by the way of the settings' broker."""
    said: list[str] = []
    held = {world.call.con_id: Qty(owned)} | (more or {})
    outcome = flatten(way_of(world, contracts, **way), held, clock=world.clock, say=said.append)
    return outcome, said


def position(world: World) -> int:
    return int(world.do(lambda: world.exchange.position(world.call.con_id).qty))


def sold(world: World) -> int:
    """Return how much was sold in all, by the broker's executions."""
    found = world.do(world.exchange.executions)
    return sum(execution.qty for execution, _ in found if execution.order.side is Side.SELL)


def test_what_our_ledgers_own_is_sold_once_by_rest_alone_however_often_it_runs(world: World) -> None:
    outcome, said = close_all(world)
    assert outcome == Outcome({world.call.con_id: Qty(2)}, {}, ())
    assert any("sold 2 at 5.00" in line for line in said), said
    again, said = close_all(world)
    assert (again.sold, again.is_flat, position(world), sold(world)) == ({}, True, 0, 2)
    assert any("nothing of ours" in line for line in said), said


def test_what_it_logs_in_with_is_read_when_the_way_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    way = way_of(world)
    for name in ("SECRET", "TOKEN"):  # minutes before the close a file may not be read any more
        monkeypatch.delenv(f"ZEROHOUR_TASTYTRADE_{name}")
    outcome = flatten(way, {world.call.con_id: Qty(2)}, clock=world.clock, say=lambda _: None)
    assert (outcome.is_flat, position(world)) == (True, 0)


@pytest.mark.parametrize(("owned", "left"), [(1, 1), (5, 0), (0, 2)])
def test_never_more_is_sold_than_the_ledgers_own_and_the_broker_holds(world: World, owned: int, left: int) -> None:
    for _ in range(2):
        close_all(world, owned)
        assert position(world) == left


@pytest.mark.parametrize(
    "trouble",
    [
        *(Trouble(request, status=code) for request in (Request.ACCOUNTS, Request.ORDERS) for code in (401, 429, 503)),
        *(Trouble(Request.POSITIONS, status=code) for code in (401, 429, 503)),
        Trouble(Request.POSITIONS, is_cut=True),
        Trouble(Request.BALANCES, status=429),
        Trouble(Request.TOKEN, status=503),
        *(Trouble(Request.PLACE, status=code) for code in (401, 429)),
    ],
    ids=lambda trouble: f"{trouble.request} {trouble.status or 'cut'}",
)
def test_a_request_that_fails_once_does_not_keep_it_from_being_flat(world: World, trouble: Trouble) -> None:
    world.faults.troubles.append(trouble)
    outcome, said = close_all(world)
    assert (outcome.is_flat, outcome.sold, position(world)) == (True, {world.call.con_id: 2}, 0), said
    assert (world.faults.troubles, sold(world)) == ([], 2)


@pytest.mark.parametrize("is_done", [True, False], ids=["it arrived", "it did not"])
@pytest.mark.parametrize("more", [{"is_cut": True}, {"status": 503}], ids=["cut", "503"])
def test_an_order_without_an_answer_is_looked_for_before_there_is_another(
    world: World, more: dict[str, Any], is_done: bool
) -> None:
    world.faults.troubles.append(Trouble(Request.PLACE, is_done=is_done, **more))
    before = world.asked("POST", "/orders")
    outcome, said = close_all(world)
    assert (outcome.is_flat, outcome.sold, position(world), sold(world)) == (True, {world.call.con_id: 2}, 0, 2), said
    posts = [n for n, asked in enumerate(world.server.requests) if asked[0] == "POST" and asked[1].endswith("/orders")]
    assert len(posts) - before == (1 if is_done else 2)
    if not is_done:
        between = [path for method, path in world.server.requests[posts[-2] : posts[-1]] if method == "GET"]
        assert any(path.endswith("/positions") for path in between)
        assert any(path.endswith("/orders/live") for path in between)


@pytest.mark.parametrize("code", [None, 401, 429, 503])
def test_working_orders_are_cancelled_before_anything_is_sold(world: World, code: int | None) -> None:
    with dialled(world) as (port, heard):
        port.post(place(world, "ZH-paper-a-x1", side=Side.SELL, is_exit=True, limit_ticks=900))
        port.post(place(world, "ZH-paper-b-e", limit_ticks=100))
        for ref in ("ZH-paper-a-x1", "ZH-paper-b-e"):
            heard.wait(broker.OrderStatusReported, lambda f, r=ref: (f.order_ref, f.status) == (r, OrderStatus.WORKING))  # type: ignore[misc]
    if code is not None:
        world.faults.troubles.append(Trouble(Request.CANCEL, status=code))
    outcome, said = close_all(world)
    assert (outcome.is_flat, position(world), sold(world)) == (True, 0, 2), said
    assert any(line.startswith("cancelling 2 orders of ours") for line in said)
    assert not any("not flat yet" in line for line in said), "a cancel does not wait for the next round"
    assert world.do(lambda: [p for p in world.server.desk.placed.values() if p.can_change]) == []


@pytest.mark.parametrize("is_exit", [True, False], ids=["an exit", "an entry"])
def test_an_order_that_fills_while_it_is_cancelled_counts(world: World, is_exit: bool) -> None:
    more = {"side": Side.SELL, "limit_ticks": 900} if is_exit else {"limit_ticks": 100}
    with dialled(world) as (port, heard):
        port.post(place(world, "ZH-paper-b-x", is_exit=is_exit, **more))
        heard.wait(
            broker.OrderStatusReported, lambda f: (f.order_ref, f.status) == ("ZH-paper-b-x", OrderStatus.WORKING)
        )
    cancel = world.server.desk.cancel

    def fill_first(placed: Any) -> None:
        world.market.set(world.call.con_id, *((900, 910) if is_exit else (90, 100)))
        world.server.desk.step()
        cancel(placed)

    world.server.desk.cancel = fill_first  # type: ignore[method-assign]
    outcome, said = close_all(world, owned=2 if is_exit else 4)
    assert (outcome.is_flat, position(world), sold(world)) == (True, 0, 2 if is_exit else 4), said


def test_an_order_that_cannot_be_cancelled_is_not_sold_beside(world: World) -> None:
    with dialled(world) as (port, heard):
        port.post(place(world, "ZH-paper-a-x1", side=Side.SELL, is_exit=True, limit_ticks=900, qty=1))
        heard.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.WORKING)
    world.faults.refuses_cancels = 100
    outcome, said = close_all(world, wait_s=0.5)
    assert (outcome.is_flat, outcome.working, outcome.left) == (False, ("ZH-paper-a-x1",), {world.call.con_id: 2})
    assert (sold(world), sum("selling beside them" in line for line in said)) == (0, 3)


def test_what_the_venue_rejects_is_said_and_tried_again(world: World) -> None:
    world.faults.rejects_orders = 1
    outcome, said = close_all(world)
    assert (outcome.is_flat, outcome.sold, sold(world)) == (True, {world.call.con_id: 2}, 2)
    assert sum("the venue rejected it" in line for line in said) == 1


def test_what_each_round_sold_is_told_in_the_end(world: World) -> None:
    put = world.market.contract(world.market.put)
    with dialled(world) as (port, heard):
        port.post(place(world, "ZH-paper-p-e", contract=put))
        heard.wait(
            broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED and f.order_ref == "ZH-paper-p-e"
        )
    world.faults.troubles.append(Trouble(Request.PLACE, status=429))
    outcome, said = close_all(world, more={put.con_id: Qty(2)})
    assert (outcome.is_flat, outcome.sold, sold(world)) == (True, {world.call.con_id: 2, put.con_id: 2}, 4), said


def test_a_contract_whose_symbol_nobody_knows_is_left_and_said(world: World) -> None:
    outcome, said = close_all(world, contracts=ContractBook())
    assert (outcome.is_flat, outcome.left, position(world)) == (False, {world.call.con_id: 2}, 2)
    assert any("which symbol" in line for line in said), said


def test_a_broker_that_cannot_be_had_is_one_sentence_and_a_refused_login_is_not_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DirectError, match=r"no broker answers \(GET accounts: .*\); try it again, or close .* by hand"):
        close_all(world, rest_url="http://127.0.0.1:9")
    with pytest.raises(DirectError, match=r"broker\.tastytrade: .* TLS"):
        close_all(world, rest_url="http://api.example.com")
    monkeypatch.setenv("ZEROHOUR_TASTYTRADE_TOKEN", "an-old-token")
    before = world.asked("POST", "/oauth/token")
    with pytest.raises(DirectError, match=r"refused the login \(400\)") as refused:
        close_all(world)
    assert (world.asked("POST", "/oauth/token") - before, "an-old-token" in str(refused.value)) == (1, False)


def test_a_missing_secret_and_another_account_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROHOUR_TASTYTRADE_ACCOUNT", "another")
    with pytest.raises(DirectError, match="the login has another account"):
        close_all(world)
    monkeypatch.delenv("ZEROHOUR_TASTYTRADE_SECRET")
    with pytest.raises(BrokerSetupError, match="set ZEROHOUR_TASTYTRADE_SECRET"):
        close_all(world)
    assert position(world) == 2
