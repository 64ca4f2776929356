"""Orders that a person makes at the gateway itself, and who sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from simulation.gateway.faults import Fault, FaultKind
from tests.simulation.gateway.raw_client import RawClient
from tests.testkit.gateway_world import World, limit, until, world

ACCOUNT = "DU1234567"


def by_hand(it: World, **args: Any) -> None:
    """Have a person trade the call."""
    it.server.inject(Fault(FaultKind.MANUAL_ORDER, args={"con_id": it.market.call, **args}))


def test_a_persons_order_works_and_fills_like_any_other_and_the_position_is_told_to_everybody() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            by_hand(it, qty=2)
            await until(ib, ib.positions)
            assert [(p.contract.conId, p.position) for p in ib.positions()] == [(it.market.call, 2.0)]
            assert not ib.trades()
            (fill,) = await ib.reqExecutionsAsync()
            assert (fill.execution.clientId, fill.execution.orderId, fill.execution.shares) == (0, 0, 2.0)

    asyncio.run(scenario())


def test_other_clients_find_it_among_all_orders_without_an_id_and_cannot_touch_it() -> None:
    async def scenario() -> None:
        async with world() as it:
            raw = await RawClient.connect(it.port)
            by_hand(it, limit_ticks=400)
            rows = await raw.ask(16, 1)
            assert [(row[0], row[1]) for row in rows] == [("5", "0"), ("3", "0"), ("53", "1")]
            assert await raw.ask(5, 1) == [["53", "1"]]
            assert (await raw.ask(4, 1, -1, ""))[0][2:4] == ["-1", "10147"]
            assert len(it.exchange.open_orders()) == 1
            assert await raw.ask(15, 1, 1) != []
            raw.close()

    asyncio.run(scenario())


def test_the_default_client_binds_it_under_a_negative_id_changes_and_cancels_it() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect(0)
            by_hand(it, limit_ticks=400)
            await until(ib, ib.openTrades)
            (trade,) = ib.openTrades()
            assert (trade.order.orderId, trade.order.clientId) == (-1, 0)
            trade.order.lmtPrice = 4.1
            ib.placeOrder(trade.contract, trade.order)
            await until(ib, lambda: it.exchange.open_orders()[0].order.limit_ticks == 410)
            ib.cancelOrder(trade.order)
            await until(ib, lambda: not it.exchange.open_orders())
            own = ib.placeOrder(await it.qualified(ib), limit("BUY", 1, 5.1))
            await until(ib, own.isDone)
            assert own.order.orderId > 0

    asyncio.run(scenario())


def test_the_default_client_that_binds_nothing_is_told_nothing() -> None:
    async def scenario() -> None:
        async with world() as it:
            raw = await RawClient.connect(it.port, client_id=0)
            by_hand(it, limit_ticks=400)
            assert await raw.ask(5, 1) == [["53", "1"]]
            assert await raw.ask(15, 1, 1) == []
            by_hand(it, limit_ticks=300)
            told = await raw.ask()
            assert [(row[0], row[1]) for row in told] == [("5", "-2"), ("3", "-2")]
            assert [row[1] for row in await raw.ask(5, 1) if row[0] == "5"] == ["-1", "-2"]
            assert await raw.ask(8, 1, 1) == [["9", "1", "1"]]
            raw.close()

    asyncio.run(scenario())


def test_a_global_cancel_ends_it() -> None:
    async def scenario() -> None:
        async with world() as it:
            raw = await RawClient.connect(it.port)
            by_hand(it, limit_ticks=400)
            await raw.ask(58, 1)
            assert not it.exchange.open_orders()
            raw.close()

    asyncio.run(scenario())


def test_a_side_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="BUY or SELL"):
        Fault(FaultKind.MANUAL_ORDER, args={"side": "HOLD"})
