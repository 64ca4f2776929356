"""Tick-by-tick data and real-time bars, as a client follows them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ib_insync import Index, Stock

from domain.instants import SECOND
from simulation.gateway import server as server_module
from simulation.gateway.faults import Fault, FaultKind
from tests.simulation.gateway.test_history import SPX, connected
from tests.testkit.gateway_world import World, until, world

SPY = Stock("SPY", "SMART", "USD")


def ticks_of(ticker: Any) -> list[Any]:
    """Keep every tick from now on: the library forgets them with the next packet."""
    kept: list[Any] = []
    ticker.updateEvent += lambda t: kept.extend(t.tickByTicks)
    return kept


async def streams(it: World, ib: Any) -> dict[str, list[Any]]:
    """Follow both sides and the mid of the call, and the price of the index."""
    call = await it.qualified(ib)
    both, mid = (ib.reqTickByTickData(call, kind) for kind in ("BidAsk", "MidPoint"))
    (index,) = await ib.qualifyContractsAsync(Index("SPX", "CBOE", "USD"))
    last = ib.reqTickByTickData(index, "Last")
    assert both is mid
    return {"call": ticks_of(both), "index": ticks_of(last)}


def test_every_change_is_told_once_with_both_sides_and_the_mid() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            told = await streams(it, ib)
            it.market.set(it.market.call, 500, 520)
            await until(ib, lambda: any(getattr(t, "askPrice", 0) == 5.2 for t in told["call"]))
            it.market.set(it.market.call, None, 530)
            await until(ib, lambda: any(getattr(t, "askPrice", 0) == 5.3 for t in told["call"]))
            sides = [(t.bidPrice, t.askPrice, t.bidSize) for t in told["call"] if hasattr(t, "bidPrice")]
            assert sides[-2:] == [(5.0, 5.2, 10.0), (-1.0, 5.3, 0.0)]
            assert len(set(sides)) == len(sides)
            assert [t.midPoint for t in told["call"] if hasattr(t, "midPoint")][-1] == 5.1
            it.market.spots["SPX"] = 600_075
            await until(ib, lambda: any(t.price == 6000.75 for t in told["index"]))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("contract", "kind", "code"),
    [
        ("call", "Last", 10189), ("index", "BidAsk", 10189), ("stock", "Depth", 10189), ("nobody", "BidAsk", 200),
        ("refused", "BidAsk", 354),
    ],
)  # fmt: skip
def test_what_there_is_none_of_is_refused(contract: str, kind: str, code: int) -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            codes: list[int] = []
            ib.errorEvent += lambda request, number, *_: codes.append(number)
            wish = {"index": Index("SPX", "CBOE", "USD"), "stock": SPY, "nobody": Stock("XXX", "SMART", "USD")}
            if contract == "refused":
                it.server.inject(Fault(FaultKind.NOT_SUBSCRIBED, duration_s=60))
            ib.client.reqTickByTickData(77, wish.get(contract) or it.spxw(), kind, 0, False)
            await until(ib, lambda: codes == [code])

    asyncio.run(scenario())


def test_a_stream_that_is_cancelled_is_silent() -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect()
            call = await it.qualified(ib)
            kept = ticks_of(ib.reqTickByTickData(call, "BidAsk"))
            await until(ib, lambda: kept)
            ib.cancelTickByTickData(call, "BidAsk")
            await ib.reqCurrentTimeAsync()
            n = len(kept)
            line = ib.reqMktData(call, "", False, False)
            it.market.set(it.market.call, 480, 490)
            await until(ib, lambda: line.bid == 4.8)
            assert len(kept) == n

    asyncio.run(scenario())


def test_real_time_bars_are_those_of_the_path_one_for_each_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "ACCOUNT_PERIOD_S", 0.02)

    async def scenario() -> None:
        async with connected() as (market, clock, ib):
            clock.now += 2 * SECOND
            (index,) = await ib.qualifyContractsAsync(SPX)
            live = ib.reqRealTimeBars(index, 5, "TRADES", True)
            await ib.reqCurrentTimeAsync()
            assert len(live) == 0
            begin = clock.now - clock.now % (5 * SECOND)
            clock.now += 14 * SECOND
            await until(ib, lambda: len(live) == 3)
            assert [round(bar.time.timestamp()) for bar in live] == [begin // SECOND + n for n in (0, 5, 10)]
            first_s = (begin - market.path.start_utc) // SECOND
            prices = [round(float(p), 2) for p in market.path.spots["SPX"][first_s : first_s + 5]]
            assert (live[0].open_, live[0].high, live[0].low, live[0].close, live[0].count) == (
                prices[0], max(prices), min(prices), prices[-1], 5,
            )  # fmt: skip
            ib.cancelRealTimeBars(live)
            await ib.reqCurrentTimeAsync()
            clock.now += 30 * SECOND
            await ib.reqHistoricalDataAsync(SPX, "", "1 D", "1 min", "TRADES", True, 2)
            assert len(live) == 3

    asyncio.run(scenario())
