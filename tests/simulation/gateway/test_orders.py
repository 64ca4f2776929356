"""An unmodified ib_insync against the simulated gateway: connect, contracts, data, orders."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import pytest
from ib_insync import Index, MarketOrder, Option, Stock, StopOrder

from domain.instants import SECOND
from tests.testkit.gateway_world import World, limit, new_client, until, world


def test_connect_synchronises_without_a_timeout_in_any_group(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            assert ib.client.serverVersion() == 176
            assert ib.managedAccounts() == ["DU1234567"]
            values = {v.tag: v.value for v in ib.accountValues()}
            assert float(values["NetLiquidation"]) == 100_000.0

    with caplog.at_level(logging.ERROR, "ib_insync"):
        asyncio.run(scenario())
    assert not [r for r in caplog.records if "timed out" in r.message]


def test_options_and_underlyings_qualify() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            spxw, spy, qqq, spx, stock = await ib.qualifyContractsAsync(
                it.spxw(),
                Option("SPY", "20261120", 600, "P", "SMART"),
                Option("QQQ", "20261120", 520, "C", "SMART", currency="USD"),
                Index("SPX", "CBOE", "USD"),
                Stock("SPY", "SMART", "USD"),
            )
            assert spxw.conId == it.market.call
            assert spxw.localSymbol == "SPXW  261120C06000000"
            assert (spy.tradingClass, spy.strike, spy.right) == ("SPY", 600.0, "P")
            assert qqq.multiplier == "100"
            assert (spx.conId, stock.conId) == (1, 2)
            (details,) = await ib.reqContractDetailsAsync(spxw)
            assert details.realExpirationDate == "20261120"
            assert details.underConId == 1
            rules = dict(zip(details.validExchanges.split(","), details.marketRuleIds.split(","), strict=True))
            rule = await ib.reqMarketRuleAsync(int(rules["SMART"]))
            assert [(r.lowEdge, r.increment) for r in rule] == [(0.0, 0.05), (3.0, 0.1)]
            assert await ib.qualifyContractsAsync(it.spxw(strike=1.0)) == []

    asyncio.run(scenario())


def test_chain_comes_from_parameters_and_from_one_wildcard_request() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            chains = await ib.reqSecDefOptParamsAsync("SPX", "", "IND", 1)
            smart = next(c for c in chains if c.exchange == "SMART")
            assert smart.tradingClass == "SPXW"
            assert list(smart.expirations) == ["20261120", "20261123"]
            assert 6000.0 in smart.strikes
            wild = Option("SPX", "20261120", 0.0, "C", "SMART", tradingClass="SPXW")
            details = await ib.reqContractDetailsAsync(wild)
            assert {d.contract.strike for d in details} == set(smart.strikes)
            assert {d.contract.right for d in details} == {"C"}

    asyncio.run(scenario())


def test_quotes_stream_with_model_greeks_and_only_changes_are_sent() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            ticker = ib.reqMktData(await it.qualified(ib), "", False, False)
            await until(ib, lambda: ticker.modelGreeks)
            assert (ticker.bid, ticker.ask, ticker.bidSize) == (5.0, 5.1, 10.0)
            assert ticker.marketDataType == 1
            assert ticker.modelGreeks.delta == 0.52
            assert ticker.modelGreeks.undPrice == 6000.5
            it.market.set(it.market.call, 500, 520)
            await until(ib, lambda: ticker.ask == 5.2)
            assert [t.tickType for t in ticker.ticks] == [2]
            it.market.set(it.market.call, 0, 520)
            await until(ib, lambda: ticker.bid == -1.0)
            assert ticker.bidSize == 0
            index = ib.reqMktData(Index("SPX", "CBOE", "USD"), "", False, False)
            await until(ib, lambda: index.last == 6000.5)

    asyncio.run(scenario())


def test_snapshot_ends() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            (ticker,) = await asyncio.wait_for(ib.reqTickersAsync(contract), 60)
            assert (ticker.bid, ticker.ask) == (5.0, 5.1)

    asyncio.run(scenario())


def test_buy_limit_at_the_ask_fills_and_everything_about_it_is_reported() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            trade = ib.placeOrder(contract, limit("BUY", 2, 5.2))
            await until(ib, lambda: trade.isDone() and ib.positions())
            assert [e.status for e in trade.log][:2] == ["PendingSubmit", "Submitted"]
            assert trade.orderStatus.status == "Filled"
            assert trade.orderStatus.avgFillPrice == 5.1
            assert trade.order.permId
            (fill,) = trade.fills
            assert (fill.execution.shares, fill.execution.price) == (2.0, 5.1)
            assert fill.execution.orderRef == "ZH-test"
            assert fill.execution.acctNumber == "DU1234567"
            await until(ib, lambda: fill.commissionReport.execId)
            assert fill.commissionReport.commission == pytest.approx(1.3 + 2 * 0.45)
            (position,) = ib.positions()
            assert position.position == 2.0
            assert position.avgCost == pytest.approx(510 + 1.10)
            await until(ib, ib.portfolio)
            sold = ib.placeOrder(contract, MarketOrder("SELL", 2, tif="DAY"))
            await until(ib, lambda: sold.isDone() and not ib.positions())
            report = sold.fills[0].commissionReport
            await until(ib, lambda: report.execId)
            assert report.realizedPNL == pytest.approx(2 * (500 - 510) - 2 * 2.2)

    asyncio.run(scenario())


def test_modified_limit_is_acknowledged_and_fills_when_crossed() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            order = limit("BUY", 1, 4.5)
            trade = ib.placeOrder(contract, order)
            await until(ib, lambda: trade.orderStatus.status == "Submitted")
            order.lmtPrice = 4.8
            ib.placeOrder(contract, order)
            await until(ib, lambda: trade.log[-1].message == "Modified")
            assert (await ib.reqOpenOrdersAsync())[0].order.lmtPrice == 4.8
            it.market.set(it.market.call, 460, 470)
            await until(ib, trade.isDone)
            assert trade.orderStatus.avgFillPrice in (4.7, 4.8)  # the new quote may come first

    asyncio.run(scenario())


def test_cancel_ends_in_cancelled_with_202_and_the_order_is_completed() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            errors: list[int] = []
            ib.errorEvent += lambda rid, code, text, c: errors.append(code)
            contract = await it.qualified(ib)
            trade = ib.placeOrder(contract, limit("BUY", 1, 4.5))
            await until(ib, lambda: trade.orderStatus.status == "Submitted")
            ib.cancelOrder(trade.order)
            await until(ib, lambda: 202 in errors)
            assert trade.orderStatus.status == "Cancelled"
            (done,) = await ib.reqCompletedOrdersAsync(False)
            assert done.order.permId == trade.order.permId
            assert done.orderStatus.status == "Cancelled"

    asyncio.run(scenario())


def test_global_cancel_ends_every_order_of_every_client() -> None:
    async def scenario() -> None:
        async with world() as it:
            first, second = await it.connect(1), await it.connect(2)
            one = first.placeOrder(await it.qualified(first), limit("BUY", 1, 4.5))
            two = second.placeOrder(await it.qualified(second, "P"), limit("BUY", 1, 4.0))
            await until(first, lambda: one.orderStatus.status == "Submitted")
            await until(second, lambda: two.orderStatus.status == "Submitted")
            assert len(await first.reqAllOpenOrdersAsync()) == 2
            second.reqGlobalCancel()
            await until(first, one.isDone)
            await until(second, two.isDone)
            assert it.exchange.open_orders() == []

    asyncio.run(scenario())


def test_stop_waits_presubmitted_and_sells_when_the_bid_reaches_it() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            bought = ib.placeOrder(contract, limit("BUY", 1, 5.1))
            await until(ib, bought.isDone)
            trade = ib.placeOrder(contract, StopOrder("SELL", 1, 3.5, tif="DAY"))
            await until(ib, lambda: trade.orderStatus.status == "PreSubmitted")
            it.market.set(it.market.call, 340, 360)
            await until(ib, trade.isDone)
            assert trade.orderStatus.avgFillPrice == 3.4

    asyncio.run(scenario())


def test_price_off_the_tick_grid_is_refused_with_110() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            errors: list[tuple[int, int]] = []
            ib.errorEvent += lambda rid, code, text, c: errors.append((rid, code))
            contract = await it.qualified(ib)
            for price in (5.05, 5.123):
                trade = ib.placeOrder(contract, limit("BUY", 1, price))
                await until(ib, partial(errors.count, (trade.order.orderId, 110)))
            assert it.exchange.open_orders() == it.exchange.completed() == []

    asyncio.run(scenario())


def test_what_if_tells_margin_and_places_nothing() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            state = await asyncio.wait_for(ib.whatIfOrderAsync(contract, limit("BUY", 1, 5.1)), 60)
            assert float(state.initMarginChange) == 510.0
            assert state.commission == pytest.approx(1.45)
            assert it.exchange.open_orders() == []

    asyncio.run(scenario())


def test_reconnected_client_finds_orders_executions_and_positions() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            filled = ib.placeOrder(contract, limit("BUY", 1, 5.1))
            resting = ib.placeOrder(contract, limit("BUY", 1, 4.0))
            await until(ib, lambda: filled.isDone() and resting.orderStatus.status == "Submitted")
            ib.disconnect()
            again = await reconnected(it)
            assert [t.order.orderRef for t in again.openTrades()] == ["ZH-test"]
            assert again.openTrades()[0].order.permId == resting.order.permId
            (fill,) = again.fills()
            assert fill.execution.execId == filled.fills[0].execution.execId
            assert fill.commissionReport.commission > 0
            assert again.positions()[0].position == 1.0
            assert again.client.getReqId() > resting.order.orderId

    asyncio.run(scenario())


async def reconnected(it: World) -> Any:
    """Connect again, as often as the gateway still holds the old client id."""
    while True:
        try:
            return await it.connect(timeout=2)
        except (TimeoutError, ConnectionError):
            continue


def test_current_time_is_the_markets_and_ids_go_on() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            before = it.server.now_utc()
            now = await ib.reqCurrentTimeAsync()
            assert before // SECOND <= now.timestamp() <= it.server.now_utc() / SECOND  # it tells whole seconds
            ib.reqMarketDataType(1)
            summary = await ib.accountSummaryAsync()
            assert {v.tag for v in summary} >= {"NetLiquidation", "BuyingPower"}
            bars = ib.reqHistoricalDataAsync(it.spxw(), "", "1 D", "1 min", "TRADES", True)
            assert len(await asyncio.wait_for(bars, 60)) == 0

    asyncio.run(scenario())


def test_client_id_in_use_is_refused_and_lines_are_limited() -> None:
    async def scenario() -> None:
        async with world(lines_max=1) as it:
            ib = await it.connect(7)
            told: list[int] = []
            other = new_client()
            other.errorEvent += lambda rid, code, text, c: told.append(code)
            asking = asyncio.ensure_future(other.connectAsync("127.0.0.1", it.port, clientId=7, timeout=3_600))
            await until(other, lambda: told == [326])
            assert not other.isConnected()
            asking.cancel()
            errors: list[int] = []
            ib.errorEvent += lambda rid, code, text, c: errors.append(code)
            call, put = await it.qualified(ib, "C"), await it.qualified(ib, "P")
            ib.reqMktData(call, "", False, False)
            ib.reqMktData(put, "", False, False)
            await until(ib, lambda: 101 in errors)

    asyncio.run(scenario())
