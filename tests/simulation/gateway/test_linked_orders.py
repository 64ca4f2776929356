"""Stop-limit orders, brackets and groups, as an unmodified client sends them over a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ib_insync import LimitOrder, StopLimitOrder, StopOrder

from domain.instants import MS
from domain.instruments import OrderType, Side
from domain.units import Qty, Ticks, Utc
from simulation.broker.exchange import Exchange
from simulation.broker.orders import Order
from tests.testkit.gateway_world import NOON, FakeMarket, World, limit, until, world


def codes_of(ib: Any) -> list[tuple[int, int]]:
    """Collect (order id, code) from now on."""
    told: list[tuple[int, int]] = []
    ib.errorEvent += lambda request_id, code, text, contract: told.append((request_id, code))
    return told


def status(trade: Any) -> str:
    return str(trade.orderStatus.status)


async def bracket(it: World, ib: Any, *, entry: float = 5.1, qty: int = 2) -> list[Any]:
    """Send an entry, a target at 6.00 and a stop at 4.00; the last one transmits all three."""
    contract = await it.qualified(ib)
    first = ib.client.getReqId()
    orders = [
        limit("BUY", qty, entry, orderId=first, transmit=False),
        limit("SELL", qty, 6.0, orderId=first + 1, parentId=first, transmit=False),
        StopOrder("SELL", qty, 4.0, orderId=first + 2, parentId=first, tif="DAY"),
    ]
    return [ib.placeOrder(contract, order) for order in orders]


def test_nothing_of_a_bracket_is_at_the_exchange_before_its_last_order_is_transmitted() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            first = ib.client.getReqId()
            entry = ib.placeOrder(contract, limit("BUY", 1, 4.5, orderId=first, transmit=False))
            await ib.reqCurrentTimeAsync()
            assert (it.exchange.open_orders(), status(entry)) == ([], "PendingSubmit")
            target = ib.placeOrder(contract, limit("SELL", 1, 6.0, orderId=first + 1, parentId=first))
            await until(ib, lambda: status(target) == "PreSubmitted")
            assert status(entry) == "Submitted"
            assert [s.order.parent_id for s in it.exchange.open_orders()] == [0, first]
            assert target.orderStatus.parentId == first
            told = (await ib.reqAllOpenOrdersAsync())[-1].order
            assert (told.orderId, told.parentId) == (first + 1, first)

    asyncio.run(scenario())


def test_children_wait_for_the_entry_and_the_target_ends_the_stop() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            entry, target, stop = await bracket(it, ib)
            await until(ib, lambda: status(entry) == "Filled" and status(target) == "Submitted")
            assert status(stop) == "PreSubmitted"
            it.market.set(it.market.call, 600, 610)
            await until(ib, lambda: status(target) == "Filled" and status(stop) == "Cancelled")
            assert it.exchange.positions() == []

    asyncio.run(scenario())


def test_a_target_that_fills_in_part_takes_its_share_of_the_stop() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            entry, target, stop = await bracket(it, ib)
            await until(ib, lambda: status(target) == "Submitted" and status(entry) == "Filled")
            it.market.set(it.market.call, 600, 610, size=1)
            await until(ib, lambda: stop.orderStatus.remaining == 1)
            assert (target.orderStatus.filled, status(stop)) == (1, "PreSubmitted")
            it.market.set(it.market.call, 400, 410)
            await until(ib, lambda: status(stop) == "Filled" and status(target) == "Cancelled")
            assert it.exchange.positions() == []

    asyncio.run(scenario())


def test_children_of_a_cancelled_entry_are_cancelled_with_it() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            trades = await bracket(it, ib, entry=4.5)
            await until(ib, lambda: status(trades[0]) == "Submitted")
            ib.cancelOrder(trades[0].order)
            await until(ib, lambda: [status(t) for t in trades] == ["Cancelled"] * 3)
            assert it.exchange.open_orders() == []

    asyncio.run(scenario())


def test_children_of_an_entry_that_is_cancelled_after_a_part_work_for_that_part() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            it.market.set(it.market.call, 500, 510, ask_size=1)
            entry, target, stop = await bracket(it, ib)
            await until(ib, lambda: entry.orderStatus.filled == 1)
            assert status(target) == "PreSubmitted"
            ib.cancelOrder(entry.order)
            await until(ib, lambda: status(target) == "Submitted")
            assert (target.orderStatus.remaining, stop.orderStatus.remaining) == (1, 1)

    asyncio.run(scenario())


def test_a_child_of_nobody_is_refused_with_10006() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            told = codes_of(ib)
            trade = ib.placeOrder(await it.qualified(ib), limit("SELL", 1, 6.0, parentId=999))
            await until(ib, lambda: (trade.order.orderId, 10006) in told)
            assert it.exchange.open_orders() == []

    asyncio.run(scenario())


def test_an_order_that_was_never_transmitted_can_be_cancelled() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            told = codes_of(ib)
            trade = ib.placeOrder(await it.qualified(ib), limit("BUY", 1, 5.1, transmit=False))
            ib.cancelOrder(trade.order)
            await until(ib, lambda: status(trade) == "Cancelled")
            await ib.reqCurrentTimeAsync()
            assert told == [(trade.order.orderId, 202)]

    asyncio.run(scenario())


@pytest.mark.parametrize(("kind", "left"), [(1, []), (2, [1]), (3, [1])])
def test_a_group_ends_or_shrinks_by_its_kind(kind: int, left: list[int]) -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            more = {"ocaGroup": "one of us", "ocaType": kind}
            other = ib.placeOrder(contract, limit("BUY", 2, 4.0, **more))
            await until(ib, lambda: status(other) == "Submitted")
            it.market.set(it.market.call, 500, 510, ask_size=1)
            ib.placeOrder(contract, limit("BUY", 2, 5.1, **more))
            await until(ib, lambda: status(other) == "Cancelled" or other.orderStatus.remaining == 1)
            resting = [s.remaining_qty for s in it.exchange.open_orders() if s.order.order_id == other.order.orderId]
            assert resting == left
            told = next(t.order for t in [*await ib.reqAllOpenOrdersAsync(), other])
            assert (told.ocaGroup, told.ocaType) == ("one of us", kind)

    asyncio.run(scenario())


def test_a_stop_limit_waits_for_its_trigger_and_then_for_its_limit() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            trade = ib.placeOrder(await it.qualified(ib), StopLimitOrder("BUY", 1, 5.5, 5.3, tif="DAY"))
            await until(ib, lambda: status(trade) == "PreSubmitted")
            it.market.set(it.market.call, 560, 570)  # past the trigger, beyond the limit
            await until(ib, lambda: status(trade) == "Submitted")
            (told,) = await ib.reqAllOpenOrdersAsync()
            assert (told.order.orderType, told.order.lmtPrice, told.order.auxPrice) == ("STP LMT", 5.5, 5.3)
            it.market.set(it.market.call, 540, 550)
            await until(ib, lambda: status(trade) == "Filled")
            assert trade.orderStatus.avgFillPrice == 5.5

    asyncio.run(scenario())


def test_a_good_till_date_order_ends_at_its_instant() -> None:
    async def scenario() -> None:
        async with world(now_utc=Utc(NOON - 300 * MS)) as it:
            ib = await it.connect()
            told = codes_of(ib)
            order = LimitOrder("BUY", 1, 4.5, tif="GTD", goodTillDate="20261120 12:00:00 US/Eastern")
            trade = ib.placeOrder(await it.qualified(ib), order)
            await until(ib, lambda: status(trade) == "Cancelled")
            assert told == [(trade.order.orderId, 202)]

    asyncio.run(scenario())


def test_of_two_orders_of_a_group_that_could_both_fill_at_once_one_does() -> None:
    market = FakeMarket()
    exchange = Exchange(market, latency_ms=1)
    for number, con_id in enumerate((market.call, market.put), start=1):
        order = Order(
            con_id, Side.BUY, Qty(1), OrderType.LIMIT, 7, number, limit_ticks=Ticks(600), oca_group="one of us"
        )
        exchange.place(order, NOON)
    exchange.step(Utc(NOON + 2 * MS))
    assert [position.con_id for position in exchange.positions()] == [market.call]
    assert exchange.open_orders() == []
