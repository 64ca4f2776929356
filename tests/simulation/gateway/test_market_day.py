"""The gateway over the simulated market itself, as `main.py sim gateway` serves it."""

from __future__ import annotations

import asyncio
from datetime import date, time

from ib_insync import Index, LimitOrder, MarketOrder, Option, Stock

from domain.instants import SECOND, at_exchange
from simulation.broker.exchange import Exchange
from simulation.gateway.server import GatewayServer
from simulation.market.market import Market
from simulation.market.minute_bars import load_recorded_day
from tests.testkit.gateway_world import new_client, until
from tests.testkit.paths import LEAN, needs_recorded_day

SESSION, NEXT_SESSION = date(2026, 11, 20), date(2026, 11, 23)


class SetClock:
    """Stands where a test sets it."""

    def __init__(self) -> None:
        self.now = at_exchange(SESSION, time(11))

    def now_utc(self) -> int:
        return self.now


def test_a_day_on_the_simulated_market_from_quotes_to_settlement() -> None:
    async def scenario() -> None:
        market, clock = Market(1, SESSION), SetClock()
        server = GatewayServer(market, Exchange(market), clock)
        port = await server.start()
        ib = new_client()
        await ib.connectAsync("127.0.0.1", port, clientId=1, timeout=30)
        spx, vix, spy = await ib.qualifyContractsAsync(
            Index("SPX", "CBOE", "USD"), Index("VIX", "CBOE", "USD"), Stock("SPY", "SMART", "USD")
        )
        tickers = [ib.reqMktData(c, "", False, False) for c in (spx, vix, spy)]
        await until(ib, lambda: all(t.last == t.last for t in tickers))  # no longer nan
        assert [t.last for t in tickers] == [market.spot(t).price_ticks / 100 for t in ("SPX", "VIX", "SPY")]
        wish = Option("SPX", "20261120", 0, "C", "SMART", tradingClass="SPXW")
        chain = sorted((d.contract for d in await ib.reqContractDetailsAsync(wish)), key=lambda c: c.strike)
        deep = chain[0]  # far in the money, so that it settles at something
        ticker = ib.reqMktData(deep, "", False, False)
        await until(ib, lambda: ticker.modelGreeks)
        assert 0 < ticker.bid < ticker.ask
        before = ticker.bid, ticker.ask
        clock.now += 60 * SECOND
        await until(ib, lambda: (ticker.bid, ticker.ask) != before)
        trade = ib.placeOrder(deep, MarketOrder("BUY", 1, tif="DAY"))
        await until(ib, lambda: trade.orderStatus.status == "Submitted")
        clock.now += SECOND  # the order's latency is the market's time
        await until(ib, lambda: trade.isDone() and ib.positions())
        assert trade.orderStatus.avgFillPrice * 100 == market.quote(deep.conId).ask_ticks
        clock.now = market.close_utc
        await until(ib, lambda: not ib.positions())
        settled = market.settlement_ticks("SPX") / 100 - deep.strike
        cash = next(v for v in await ib.accountSummaryAsync() if v.tag == "TotalCashValue")
        fee = trade.fills[0].commissionReport.commission
        paid = (settled - trade.orderStatus.avgFillPrice) * 100 - fee
        assert abs(float(cash.value) - 100_000 - paid) < 0.01
        ib.disconnect()
        await server.stop()

    asyncio.run(scenario())


@needs_recorded_day
def test_a_line_of_a_recorded_contract_begins_with_a_fresh_record_and_not_with_an_old_one() -> None:
    async def scenario() -> None:
        market, clock = Market.from_recorded(load_recorded_day(LEAN), 1, ("SPX",)), SetClock()
        clock.now = market.open_utc + 90 * SECOND  # half a minute after a record
        server = GatewayServer(market, Exchange(market), clock)
        port = await server.start()
        ib = new_client()
        await ib.connectAsync("127.0.0.1", port, clientId=1, timeout=30)
        wish = Option("SPX", "20210104", 3700, "", "SMART", tradingClass="SPXW")
        recorded = (await ib.reqContractDetailsAsync(wish))[0].contract
        wish.strike = 3760
        drawn = (await ib.reqContractDetailsAsync(wish))[0].contract
        old, fresh = (ib.reqMktData(contract, "", False, False) for contract in (recorded, drawn))
        await until(ib, lambda: fresh.ask > 0)
        assert old.ask != old.ask, "not a number: nothing was told yet"
        clock.now = market.open_utc + 121 * SECOND
        await until(ib, lambda: old.ask > 0)
        assert round(old.ask * 100) == market.quote(recorded.conId).ask_ticks
        ib.disconnect()
        await server.stop()

    asyncio.run(scenario())


def test_a_gateway_that_rolls_serves_the_next_session_to_a_client_that_stayed() -> None:
    async def scenario() -> None:
        market, clock = Market(1, SESSION, ("SPX",), rolls=True), SetClock()
        exchange = Exchange(market, latency_ms=0)
        server = GatewayServer(market, exchange, clock)
        port = await server.start()
        ib = new_client()
        await ib.connectAsync("127.0.0.1", port, clientId=1, timeout=30)
        errors: list[int] = []
        ib.errorEvent += lambda _rid, code, _text, _contract: errors.append(code)
        wish = Option("SPX", "20261120", 0, "C", "SMART", tradingClass="SPXW")
        old = (await ib.reqContractDetailsAsync(wish))[0].contract
        line = ib.reqMktData(old, "", False, False)
        await until(ib, lambda: line.bid == line.bid)
        ib.placeOrder(old, MarketOrder("BUY", 1, tif="DAY"))
        await until(ib, ib.positions)
        clock.now = market.close_utc
        await until(ib, lambda: not ib.positions())
        clock.now = at_exchange(NEXT_SESSION, time(0))
        wish = Option("SPX", "20261123", 0, "C", "SMART", tradingClass="SPXW")
        new = max((d.contract for d in await ib.reqContractDetailsAsync(wish)), key=lambda c: -c.strike)
        assert market.session == NEXT_SESSION
        early = ib.placeOrder(new, LimitOrder("BUY", 1, 0.05, tif="DAY"))
        await until(ib, lambda: 399 in errors)
        assert early.orderStatus.status == "PreSubmitted"
        refused = ib.placeOrder(old, LimitOrder("BUY", 1, 0.05, tif="DAY"))
        await until(ib, refused.isDone)
        clock.now = at_exchange(NEXT_SESSION, time(9, 31))
        await until(ib, lambda: early.orderStatus.status == "Submitted")
        trade = ib.placeOrder(new, MarketOrder("BUY", 1, tif="DAY"))
        await until(ib, trade.isDone)
        assert [fill.contract.conId for fill in await ib.reqExecutionsAsync()] == [new.conId], "yesterday's are gone"
        assert trade.order.orderId > refused.order.orderId
        ib.disconnect()
        await server.stop()

    asyncio.run(scenario())


def test_order_fills_against_the_quotes_of_the_instant_at_which_it_arrives() -> None:
    async def scenario() -> None:
        market, clock = Market(1, SESSION), SetClock()
        server = GatewayServer(market, Exchange(market, latency_ms=0), clock, period_s=3_600.0, latency_s=0.0)
        port = await server.start()
        ib = new_client()
        await ib.connectAsync("127.0.0.1", port, clientId=1, timeout=30)
        wish = Option("SPX", "20261120", 0, "C", "SMART", tradingClass="SPXW")
        chain = sorted((d.contract for d in await ib.reqContractDetailsAsync(wish)), key=lambda c: c.strike)
        deep = chain[0]
        before = market.quote(deep.conId).ask_ticks
        later = Market(1, SESSION)
        for minutes in range(1, 60):
            later.step(clock.now + minutes * 60 * SECOND)
            if later.quote(deep.conId).ask_ticks != before:
                break
        clock.now = later.now_utc  # no period of the server lies between this instant and the order
        trade = ib.placeOrder(deep, MarketOrder("BUY", 1, tif="DAY"))
        await until(ib, trade.isDone)
        assert trade.orderStatus.avgFillPrice * 100 == later.quote(deep.conId).ask_ticks != before
        ib.disconnect()
        await server.stop()

    asyncio.run(scenario())
