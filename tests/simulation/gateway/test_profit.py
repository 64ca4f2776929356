"""Profit and loss as a client follows it: of the account, and of one position."""

from __future__ import annotations

import asyncio
from datetime import time

import pytest

from domain.instants import at_exchange
from simulation.gateway import server
from tests.simulation.gateway.raw_client import RawClient
from tests.testkit.gateway_world import NEXT_SESSION, limit, until, world

ACCOUNT, OTHER = "DU1234567", "DU7654321"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ACCOUNT_PERIOD_S", 0.02)


def test_an_account_and_a_position_are_followed_as_the_market_moves() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            whole = ib.reqPnL(ACCOUNT)
            trade = ib.placeOrder(contract, limit("BUY", 2, 5.1))
            await until(ib, lambda: trade.isDone() and ib.positions())
            fees = sum(c.fee_cents for _, c in it.exchange.executions()) / 100
            one = ib.reqPnLSingle(ACCOUNT, "", contract.conId)
            it.market.set(contract.conId, 600, 610)  # marked at 6.05, bought at 5.10
            gained = round((6.05 - 5.10) * 200 - fees, 2)
            await until(ib, lambda: one.unrealizedPnL == gained and whole.dailyPnL == gained)
            assert (one.position, one.value, one.dailyPnL, one.realizedPnL) == (2, 1210.0, gained, 0.0)
            assert (whole.unrealizedPnL, whole.realizedPnL) == (gained, 0.0)
            trade = ib.placeOrder(contract, limit("SELL", 2, 6.0))
            await until(ib, lambda: trade.isDone() and whole.unrealizedPnL == 0.0)
            fees = sum(c.fee_cents for _, c in it.exchange.executions()) / 100
            assert whole.realizedPnL == whole.dailyPnL == round((6.00 - 5.10) * 200 - fees, 2)

    asyncio.run(scenario())


def test_a_new_session_begins_with_nothing_gained() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            whole = ib.reqPnL(ACCOUNT)
            contract = await it.qualified(ib)
            trade = ib.placeOrder(contract, limit("BUY", 1, 5.1))
            await until(ib, lambda: trade.isDone() and whole.dailyPnL < 0)
            it.market.open_utc = at_exchange(NEXT_SESSION, time(9, 30))
            await until(ib, lambda: whole.dailyPnL == 0.0)

    asyncio.run(scenario())


def test_what_cannot_be_followed_is_refused_and_what_is_left_is_silent() -> None:
    async def scenario() -> None:
        async with world(others=(OTHER,)) as it:
            raw = await RawClient.connect(it.port)
            for account, code in (("", "435"), ("DU0000000", "321")):
                assert (await raw.ask(92, 5, account, ""))[0][2:4] == ["5", code]
            assert (await raw.ask(94, 6, ACCOUNT, "", it.market.call))[0][2:4] == ["6", "2150"]
            rows = await raw.ask(92, 7, OTHER, "")
            assert rows[0] == ["94", "7", "0.0", "0.0", "0.0"]
            while not any(row[0] == "94" for row in await raw.ask()):
                pass  # it comes again unasked
            await raw.ask(93, 7)
            assert [row for _ in range(20) for row in await raw.ask() if row[0] == "94"] == []
            raw.close()

    asyncio.run(scenario())
