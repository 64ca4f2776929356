"""A hand-set market, and a gateway server with real clients on loopback sockets in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, time
from typing import Any

import msgspec

from domain.instants import SECOND, at_exchange
from domain.instruments import Contract, Greeks, Quote, Right, Spot
from domain.units import Ticks, Utc
from gateways.ib.library import IB, LimitOrder, Option
from simulation.broker.exchange import Exchange
from simulation.gateway.faults import Fault
from simulation.gateway.server import GatewayServer

SESSION = date(2026, 11, 20)
NEXT_SESSION = date(2026, 11, 23)
OPEN = at_exchange(SESSION, time(9, 30))
CLOSE = at_exchange(SESSION, time(16))
NOON = at_exchange(SESSION, time(12))
SPOTS = {"SPX": 600_050, "SPY": 60_000, "QQQ": 52_000, "NVDA": 18_000, "VIX": 1_610}
CLASSES = {"SPX": "SPXW", "SPY": "SPY", "QQQ": "QQQ", "NVDA": "NVDA"}
CALL, PUT = 1_001, 1_002  # SPXW 6000 C and P of today


class FakeMarket:
    """Quotes stand where a test puts them."""

    def __init__(self, now_utc: Utc = NOON) -> None:
        self.now_utc = now_utc
        self.tickers = tuple(CLASSES)
        self.open_utc = OPEN
        self.close_utc = CLOSE
        self.over_utc: Utc | None = None
        self.settlements = dict(SPOTS)
        self.quotes: dict[int, Quote] = {}
        self.spots = dict(SPOTS)
        self._contracts: dict[int, Contract] = {}
        number = 1_000
        for ticker, name in CLASSES.items():
            for expiry in (SESSION, NEXT_SESSION):
                for strike in range(SPOTS[ticker] // 500 * 500 - 1_500, SPOTS[ticker] + 2_000, 500):
                    for right in Right:
                        number += 1
                        self._contracts[number] = Contract(number, ticker, name, expiry, strike, right)
        by_label = {c.label: c for c in self._contracts.values()}
        self.call = by_label["SPXW 20261120 6000C"].con_id
        self.put = by_label["SPXW 20261120 6000P"].con_id
        self.set(self.call, 500, 510)
        self.set(self.put, 450, 460)

    def set(self, con_id: int, bid: int | None, ask: int | None, size: int = 10, ask_size: int | None = None) -> None:
        """Quote an option in ticks."""
        old = self.quotes.get(con_id)
        at_utc = old.at_utc + 1 if old else self.now_utc
        greeks = Greeks(0.15, 0.52, 0.004, -30.0, 1.2, self.spots["SPX"], at_utc)
        self.quotes[con_id] = Quote(
            con_id, bid, ask, size, size if ask_size is None else ask_size, at_utc,
            volume=100, greeks=greeks, open_interest=2_500,
        )  # fmt: skip

    def step(self, to_utc: Utc) -> None:
        self.now_utc = max(self.now_utc, to_utc)

    def spot(self, ticker: str) -> Spot:
        return Spot(ticker, self.spots[ticker], self.now_utc)

    def contracts(self, ticker: str) -> list[Contract]:
        return [c for c in self._contracts.values() if c.ticker == ticker]

    def contract(self, con_id: int) -> Contract | None:
        return self._contracts.get(con_id)

    def underlying_con_id(self, ticker: str) -> int:
        return 1 + list(SPOTS).index(ticker)

    def quote(self, con_id: int) -> Quote | None:
        return self.quotes.get(con_id)

    def settlement_ticks(self, ticker: str) -> Ticks:
        return Ticks(self.settlements[ticker])


class FakeClock:
    """Market time from noon on, at the world's pace."""

    rate = 1.0

    def __init__(self, start_utc: Utc = NOON) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._from_s, self._start_utc = loop, loop.time(), start_utc

    def now_utc(self) -> Utc:
        return self._start_utc + int((self._loop.time() - self._from_s) * SECOND)


def new_client() -> Any:
    """Make an unmodified client of the library in use; untyped, as it is."""
    make: Any = IB
    return make()


class World(msgspec.Struct):
    """A running gateway and what stands behind it."""

    market: FakeMarket
    exchange: Exchange
    server: GatewayServer
    port: int
    clients: list[Any] = []
    others: tuple[Exchange, ...] = ()

    async def connect(self, client_id: int = 7, timeout: float = 30.0) -> Any:
        """Connect an unmodified client."""
        ib = new_client()
        await ib.connectAsync("127.0.0.1", self.port, clientId=client_id, timeout=timeout)
        self.clients.append(ib)
        return ib

    def spxw(self, right: str = "C", strike: float = 6000.0) -> Option:
        """Describe an SPXW option of today the way a client would."""
        return Option("SPX", "20261120", strike, right, "SMART", "100", "USD", tradingClass="SPXW")

    async def qualified(self, ib: Any, right: str = "C") -> Any:
        """Return the qualified contract."""
        (contract,) = await ib.qualifyContractsAsync(self.spxw(right))
        return contract


@asynccontextmanager
async def world(
    *faults: Fault, lines_max: int = 100, now_utc: Utc = NOON, latency_ms: int = 1, others: tuple[str, ...] = ()
) -> AsyncIterator[World]:
    """Run a gateway on a free port; `others` are further accounts of its login."""
    market = FakeMarket(now_utc)
    exchange = Exchange(market, latency_ms=latency_ms)
    beside = tuple(
        Exchange(market, account=name, latency_ms=latency_ms, number=number) for number, name in enumerate(others, 1)
    )
    server = GatewayServer(
        market, exchange, FakeClock(now_utc), faults, lines_max=lines_max,
        latency_s=latency_ms / 1000 + 0.001, period_s=0.01, others=beside,
    )  # fmt: skip
    port = await server.start()
    it = World(market, exchange, server, port, others=beside)
    try:
        yield it
    finally:
        for ib in it.clients:
            ib.disconnect()
        await server.stop()


async def until(ib: Any, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait until a condition holds, looked at whenever the client has handled a packet."""

    async def watch() -> None:
        while not condition():
            await ib.updateEvent

    await asyncio.wait_for(watch(), timeout_s)


def limit(side: str, qty: float, price: float, **more: object) -> LimitOrder:
    """Build a DAY limit order with an explicit reference."""
    return LimitOrder(side, qty, price, tif="DAY", orderRef="ZH-test", **more)
