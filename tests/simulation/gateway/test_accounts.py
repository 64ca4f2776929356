"""Several accounts under one login: each has its own orders, executions, positions and money."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from simulation.broker.exchange import Exchange
from simulation.broker.login import ACCOUNTS_MAX, Login
from tests.simulation.gateway.raw_client import RawClient
from tests.testkit.gateway_world import FakeMarket, World, limit, until, world

FIRST, SECOND = "DU1234567", "DU7654321"


async def bought(it: World, ib: Any, account: str, qty: int = 1) -> Any:
    """Buy in an account."""
    trade = ib.placeOrder(await it.qualified(ib), limit("BUY", qty, 5.1, account=account))
    await until(ib, lambda: trade.isDone() and trade.fills and trade.fills[0].commissionReport.execId)
    return trade


def codes(trade: Any) -> list[int]:
    """Return the error codes that an order got."""
    return [entry.errorCode for entry in trade.log]


def test_a_client_hears_which_accounts_it_may_use_and_its_library_follows_each() -> None:
    async def scenario() -> None:
        async with world(others=(SECOND,)) as it:
            ib = await it.connect()
            assert ib.managedAccounts() == [FIRST, SECOND]
            await bought(it, ib, SECOND)
            again = await it.connect(8)
            values = {v.account: v.value for v in again.accountValues() if v.tag == "NetLiquidation"}
            assert set(values) == {FIRST, SECOND}
            assert float(values[FIRST]) == 100_000.0
            assert float(values[SECOND]) < 100_000.0
            summary = await again.accountSummaryAsync()
            assert {row.account for row in summary} == {FIRST, SECOND}

    asyncio.run(scenario())


def test_an_order_uses_the_account_that_it_names_and_no_other() -> None:
    async def scenario() -> None:
        async with world(others=(SECOND,)) as it:
            ib = await it.connect()
            mine, theirs = await bought(it, ib, FIRST, 2), await bought(it, ib, SECOND, 1)
            assert [t.fills[0].execution.acctNumber for t in (mine, theirs)] == [FIRST, SECOND]
            assert len({t.order.permId for t in (mine, theirs)}) == 2
            assert len({t.fills[0].execution.execId for t in (mine, theirs)}) == 2
            await until(ib, lambda: len(ib.positions()) == 2)
            assert {(p.account, p.position) for p in ib.positions()} == {(FIRST, 2.0), (SECOND, 1.0)}
            assert [p.qty for p in it.exchange.positions()] == [2]
            (other,) = it.others
            assert [p.qty for p in other.positions()] == [1]
            done = await ib.reqCompletedOrdersAsync(False)
            assert {(t.order.account, t.order.permId) for t in done} == {
                (FIRST, mine.order.permId), (SECOND, theirs.order.permId),
            }  # fmt: skip

    asyncio.run(scenario())


def test_what_is_sold_in_an_account_that_does_not_hold_it_is_a_short() -> None:
    async def scenario() -> None:
        async with world(others=(SECOND,)) as it:
            ib = await it.connect()
            await bought(it, ib, FIRST, 5)
            contract = await it.qualified(ib)
            trade = ib.placeOrder(contract, limit("SELL", 5, 5.0, account=SECOND))
            await until(ib, lambda: any("insufficient" in entry.message for entry in trade.log))
            assert not it.others[0].open_orders()

    asyncio.run(scenario())


@pytest.mark.parametrize(("account", "code"), [("", 435), ("DU0000000", 321)])
def test_an_order_that_names_no_account_of_the_login_is_refused(account: str, code: int) -> None:
    async def scenario() -> None:
        async with world(others=(SECOND,)) as it:
            ib = await it.connect()
            trade = ib.placeOrder(await it.qualified(ib), limit("BUY", 1, 5.1, account=account))
            await until(ib, lambda: code in codes(trade))
            assert not it.exchange.completed()
            assert not it.others[0].completed()

    asyncio.run(scenario())


def test_an_account_that_stands_alone_need_not_be_named_and_another_one_is_refused() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            await bought(it, ib, "")
            trade = ib.placeOrder(await it.qualified(ib), limit("BUY", 1, 5.1, account=SECOND))
            await until(ib, lambda: 321 in codes(trade))
            assert [p.qty for p in it.exchange.positions()] == [1]

    asyncio.run(scenario())


def test_an_order_stays_in_its_account() -> None:
    async def scenario() -> None:
        async with world(others=(SECOND,)) as it:
            ib = await it.connect()
            trade = ib.placeOrder(await it.qualified(ib), limit("BUY", 1, 4.5, account=SECOND))
            await until(ib, lambda: trade.orderStatus.status == "Submitted")
            trade.order.account = FIRST
            ib.placeOrder(trade.contract, trade.order)
            await until(ib, lambda: 105 in codes(trade))
            (state,) = it.others[0].open_orders()
            assert not it.exchange.open_orders()
            assert state.order.account == SECOND

    asyncio.run(scenario())


def test_change_and_cancel_find_the_account_and_ids_are_used_once_over_all_of_them() -> None:
    async def scenario() -> None:
        async with world(others=(SECOND,)) as it:
            ib = await it.connect()
            await bought(it, ib, FIRST)
            trade = ib.placeOrder(await it.qualified(ib), limit("BUY", 1, 4.5, account=SECOND))
            await until(ib, lambda: trade.orderStatus.status == "Submitted")
            trade.order.lmtPrice = 4.6
            ib.placeOrder(trade.contract, trade.order)
            await until(ib, lambda: trade.log[-1].message == "Modified")
            assert it.others[0].open_orders()[0].order.limit_ticks == 460
            raw = await RawClient.connect(it.port, client_id=7_000)
            assert await raw.ask(8, 1, 1) == [["9", "1", "1"]]
            raw.close()
            ib.cancelOrder(trade.order)
            await until(ib, trade.isDone)
            ib.disconnect()
            again = await RawClient.connect(it.port, client_id=7)
            assert await again.ask(8, 1, 1) == [["9", "1", str(trade.order.orderId + 1)]]
            again.close()

    asyncio.run(scenario())


def test_everything_that_is_read_names_its_account_and_can_be_asked_for_by_account() -> None:
    async def scenario() -> None:
        async with world(others=(SECOND,)) as it:
            ib = await it.connect()
            await bought(it, ib, FIRST, 2)
            await bought(it, ib, SECOND, 1)
            raw = await RawClient.connect(it.port)

            async def executions(account: str) -> list[str]:
                rows = await raw.ask(7, 3, 5, 0, account, "", "", "", "", "")
                return [row[16] for row in rows if row[0] == "11"]

            assert await executions("") == [FIRST, SECOND]
            assert await executions(SECOND) == [SECOND]

            async def positions(account: str) -> list[list[str]]:
                return await raw.ask(74, 1, 6, account, "")

            both = await positions("")
            assert [(row[0], row[3], row[15]) for row in both[:-1]] == [("71", FIRST, "2"), ("71", SECOND, "1")]
            assert both[-1] == ["72", "1", "6"]
            assert [row[3] for row in (await positions(SECOND))[:-1]] == [SECOND]
            assert (await positions("DU0000000"))[0][2:4] == ["6", "321"]
            values = await raw.ask(76, 1, 7, SECOND, "", 0)
            assert {row[3] for row in values[:-1]} == {SECOND}
            assert values[-1] == ["74", "1", "7"]
            raw.close()

    asyncio.run(scenario())


def test_one_account_is_followed_at_a_time_and_another_one_ends_it() -> None:
    async def scenario() -> None:
        async with world(others=(SECOND,)) as it:
            raw = await RawClient.connect(it.port)
            heard = await raw.ask(6, 2, 1, FIRST)
            assert {row[5] for row in heard if row[0] == "6"} == {FIRST}
            assert heard[-1] == ["54", "1", FIRST]
            heard = await raw.ask(6, 2, 1, SECOND)
            assert heard[0][:4] == ["4", "2", "-1", "2100"]
            assert {row[5] for row in heard if row[0] == "6"} == {SECOND}
            assert (await raw.ask(6, 2, 1, "DU0000000"))[0][:4] == ["4", "2", "-1", "321"]
            assert (await raw.ask(6, 2, 1, ""))[0][:4] == ["4", "2", "-1", "435"]
            ib = await it.connect()
            await bought(it, ib, FIRST)
            await bought(it, ib, SECOND)
            portfolio = [row async for row in followed(raw)]
            assert {row[-1] for row in portfolio} == {SECOND}
            raw.close()

    asyncio.run(scenario())


async def followed(raw: RawClient) -> Any:
    """Yield the portfolio rows that have come unasked."""
    for row in await raw.ask():
        if row[0] == "7":
            yield row


def test_a_login_has_one_to_five_accounts_each_once() -> None:
    market = FakeMarket()
    many = [Exchange(market, account=f"DU{n}", number=n) for n in range(ACCOUNTS_MAX)]
    assert Login(many).accounts == tuple(f"DU{n}" for n in range(ACCOUNTS_MAX))
    for wrong in ([], [*many, Exchange(market, account="DU9")], [many[0], many[0]]):
        with pytest.raises(ValueError, match="1 to 5 accounts"):
            Login(wrong)
