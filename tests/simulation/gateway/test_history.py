"""Historical bars are the path that the market has taken, and never what is still to come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any

import pytest
from ib_insync import Index, Option, Stock

from domain.instants import MINUTE, SECOND, from_datetime
from simulation.broker.exchange import Exchange
from simulation.gateway import server as server_module
from simulation.gateway.server import GatewayServer
from simulation.market.market import Market
from tests.simulation.gateway.test_market_day import SESSION, SetClock
from tests.testkit.gateway_world import new_client, until

SPX = Index("SPX", "CBOE", "USD")
FARM_NOTICES = (2104, 2106, 2158)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Market, SetClock, Any]]:
    """Serve a simulated market that stands at 11:00 of New York."""
    market, clock = Market(1, SESSION, ("SPX", "SPY")), SetClock()
    server = GatewayServer(market, Exchange(market), clock)
    port = await server.start()
    ib = new_client()
    await ib.connectAsync("127.0.0.1", port, clientId=1, timeout=30)
    try:
        yield market, clock, ib
    finally:
        ib.disconnect()
        await server.stop()


async def bars(ib: Any, contract: Any, size: str = "1 min", span: str = "1 D", end: str = "", **more: Any) -> list[Any]:
    """Ask for bars of regular trading hours."""
    kind = more.get("kind", "TRADES")
    return list(await ib.reqHistoricalDataAsync(contract, end, span, size, kind, True, more.get("form", 2)))


def test_minutes_run_from_the_open_to_now_and_hold_the_prices_of_the_path() -> None:
    async def scenario() -> None:
        async with connected() as (market, clock, ib):
            clock.now += 30 * SECOND
            told = await bars(ib, SPX)
            begins = [from_datetime(bar.date.astimezone(UTC)) for bar in told]
            assert begins == list(range(market.open_utc, clock.now, MINUTE))
            first_s = (market.open_utc - market.path.start_utc) // SECOND
            prices = [round(float(p), 2) for p in market.path.spots["SPX"][first_s : first_s + 60]]
            first = told[0]
            assert (first.open, first.high, first.low, first.close) == (
                prices[0], max(prices), min(prices), prices[-1],
            )  # fmt: skip
            assert (first.barCount, told[-1].barCount) == (60, 30)
            assert first.average == pytest.approx(sum(prices) / 60, abs=0.01)

    asyncio.run(scenario())


def test_bars_end_where_they_are_asked_to_and_tell_nothing_of_the_future() -> None:
    async def scenario() -> None:
        async with connected() as (market, _, ib):
            stock = Stock("SPY", "SMART", "USD")
            ended = await bars(ib, stock, "5 mins", "1800 S", "20261120 10:30:00 US/Eastern", form=1)
            assert [f"{bar.date:%H:%M}" for bar in ended] == ["10:00", "10:05", "10:10", "10:15", "10:20", "10:25"]
            assert ended[0].volume == 30_000
            ahead = await bars(ib, stock, "1 hour", "1 D", "20261120 15:00:00 US/Eastern")
            assert sum(bar.barCount for bar in ahead) == (market.now_utc - market.open_utc) // SECOND

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("contract", "size", "span", "kind", "code"),
    [
        (SPX, "1 fortnight", "1 D", "TRADES", 321),
        (SPX, "1 min", "soon", "TRADES", 321),
        (SPX, "1 min", "1 D", "OPTION_IMPLIED_VOLATILITY", 162),
        (Index("DAX", "EUREX", "EUR"), "1 min", "1 D", "TRADES", 200),
        (Option("SPX", "20261120", 6000, "C", "SMART", tradingClass="SPXW"), "1 min", "1 D", "TRADES", 162),
    ],
)
def test_what_there_is_none_of_is_refused_on_its_own_id(
    contract: Any, size: str, span: str, kind: str, code: int
) -> None:
    async def scenario() -> None:
        async with connected() as (_, _, ib):
            codes: list[int] = []
            ib.errorEvent += lambda request_id, number, text, about: codes.append(number)
            assert await bars(ib, contract, size, span, kind=kind) == []
            assert [number for number in codes if number not in FARM_NOTICES] == [code]

    asyncio.run(scenario())


def test_bars_are_kept_up_to_date_until_they_are_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "ACCOUNT_PERIOD_S", 0.02)

    async def scenario() -> None:
        async with connected() as (_, clock, ib):
            clock.now += 30 * SECOND
            kept = await ib.reqHistoricalDataAsync(SPX, "", "1 D", "1 min", "TRADES", True, 2, keepUpToDate=True)
            known = len(kept)
            assert kept[-1].barCount == 30
            clock.now += 75 * SECOND
            await until(ib, lambda: len(kept) == known + 1 and kept[-1].barCount == 45)
            again = await bars(ib, SPX)
            whole, last = kept[-2], kept[-1]
            assert (whole.open, whole.high, whole.low, whole.close, whole.barCount) == (
                again[-2].open, again[-2].high, again[-2].low, again[-2].close, 60,
            )  # fmt: skip
            assert (last.open, last.high, last.low, last.close) == (
                again[-1].open, again[-1].high, again[-1].low, again[-1].close,
            )  # fmt: skip
            ib.cancelHistoricalData(kept)
            await ib.reqCurrentTimeAsync()
            clock.now += 60 * SECOND
            assert len(await bars(ib, SPX)) == known + 2
            assert len(kept) == known + 1

    asyncio.run(scenario())
