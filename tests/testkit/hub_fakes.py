"""A small market, a clock and a listener for tests of the feed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from datetime import time as wall
from typing import Any

import numpy as np

from domain.instants import BUCKET_NS, SECOND, at_exchange, bucket_of
from domain.instruments import Spot
from domain.options.profile import PRIORS, SCALARS, VALUE_COLUMNS, Profile, Shape, shape_of
from domain.units import Utc
from gateways.bucket_port import PortSetup
from gateways.gexbot.hub_port import HubPort
from gateways.gexbot.negotiate import AddressBook, hub_name, negotiate
from messages import market
from messages.base import Message
from simulation.hubs.server import HubServer

KEY = "gexbot_custom_test"
OPEN_UTC = at_exchange(date(2026, 11, 20), wall(9, 31))  # past what the vendor may tell before its day has begun
CLOSE_UTC = at_exchange(date(2026, 11, 20), wall(16, 0))
TICKERS = ("SPX", "ES_SPX", "QQQ")
CATEGORIES = (
    "classic_gex_full",
    "classic_gex_zero",
    "state_gex_zero",
    "state_gamma_zero",
    "state_charm_one",
    "orderflow_orderflow",
)
WAIT_S = 60.0
BETWEEN_LOOKS_S = 0.1


def make_profile(
    ticker: str = "SPX",
    category: str = "classic_gex_zero",
    at_utc: int = OPEN_UTC,
    *,
    spot: int = 600_000,
    mark: int = 1,
    strikes_n: int = 3,
) -> Profile:
    shape = shape_of(category)
    n = 0 if shape is Shape.ORDERFLOW else strikes_n
    columns_n, priors_n = len(VALUE_COLUMNS[shape]), PRIORS[shape]
    return Profile(
        ticker,
        category,
        at_utc - at_utc % SECOND,
        spot,
        tuple(mark + i for i in range(len(SCALARS[shape]))),
        (600_000 + 500 * np.arange(n)).astype(np.int32),
        np.full((n, columns_n), mark, dtype=np.int32),
        np.full((n, priors_n), mark, dtype=np.int32),
    )


class FakeMarket:
    """Makes profiles whose values count the publications."""

    def __init__(self, tickers: tuple[str, ...] = TICKERS, strikes_n: int = 3) -> None:
        self.open_utc = OPEN_UTC
        self.close_utc = CLOSE_UTC
        self.now_utc = OPEN_UTC
        self.tickers = tickers
        self.strikes_n = strikes_n
        self.made_n = 0

    def step(self, to_utc: Utc) -> None:
        self.now_utc = to_utc

    def spot(self, ticker: str) -> Spot:
        if ticker not in self.tickers:
            raise KeyError(ticker)
        return Spot(ticker, 600_000 + (self.now_utc - OPEN_UTC) // SECOND, self.now_utc)

    def profile(self, ticker: str, category: str) -> Profile:
        spot = self.spot(ticker)
        self.made_n += 1
        return make_profile(
            ticker,
            category,
            self.now_utc,
            spot=spot.price_ticks,
            mark=self.made_n,
            strikes_n=self.strikes_n,
        )


class FakeClock:
    """The market's clock: starts at 09:30 and runs `rate` times as fast as the real one.

    It goes on by little from look to look: a machine so busy that nobody looks takes no bucket away.
    """

    def __init__(self, rate: float = 20.0, start_utc: int = OPEN_UTC) -> None:
        self.rate = rate
        self._now_utc = start_utc
        self._looked_s = time.monotonic()
        self._lock = threading.Lock()  # a port looks from its own thread

    def now_utc(self) -> int:
        with self._lock:
            before_s, self._looked_s = self._looked_s, time.monotonic()
            self._now_utc += int(min(self._looked_s - before_s, BETWEEN_LOOKS_S) * self.rate * SECOND)
            return self._now_utc


class Listener:
    """Takes what ports tell, from any thread, into the test's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
        self.to: list[str] = []

    def tell(self, to: str, message: Message) -> None:
        self._loop.call_soon_threadsafe(self._heard.put_nowait, (to, message))

    async def next(self, kind: type[Any]) -> Any:
        """Wait for the next message, which must be of this kind."""
        async with asyncio.timeout(WAIT_S):
            to, message = await self._heard.get()
        self.to.append(to)
        assert isinstance(message, kind), message
        return message


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition of the server, which runs on this loop."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(server: HubServer) -> AsyncIterator[HubServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def groups_of(tickers: tuple[str, ...] = TICKERS, categories: tuple[str, ...] = CATEGORIES) -> list[str]:
    return [f"{t}_{c}" for t in tickers for c in (*categories, "spot")]


async def negotiated(server: HubServer, groups: list[str] | None = None) -> dict[str, str]:
    result = await asyncio.to_thread(negotiate, server.negotiate_url, KEY, groups or groups_of())
    assert isinstance(result, dict), result
    return result


class Client:
    """A real hub port beside a server, with its address book and listener."""

    def __init__(
        self,
        server: HubServer,
        *,
        hub: str = "classic",
        now_utc: Callable[[], int],
        tickers: tuple[str, ...] = TICKERS,
        categories: tuple[str, ...] = ("classic_gex_full", "classic_gex_zero"),
        recovery_s: float = 30.0,
        first: tuple[str, ...] = (),
    ) -> None:
        self.server = server
        self.book = AddressBook()
        self.listener = Listener()
        self.port = HubPort(
            PortSetup(
                hub, tuple((t, c) for t in tickers for c in categories), self.listener.tell, now_utc, first=first
            ),
            book=self.book,
            recovery_s=recovery_s,
        )
        self.vendor_hub = f"v2_{hub}"
        self.groups = groups_of()

    async def dial(self, feed_epoch: int = 1) -> None:
        self.book.put(feed_epoch, {hub_name(h): u for h, u in (await negotiated(self.server, self.groups)).items()})
        self.port.post(market.DialHub(feed_epoch=feed_epoch))

    async def seal(self, bucket_utc: int) -> market.BucketSealed:
        self.port.post(market.SealBucket(bucket_utc=bucket_utc))
        sealed: market.BucketSealed = await self.listener.next(market.BucketSealed)
        return sealed

    async def seal_all(self, until_utc: int) -> list[market.BucketSealed]:
        buckets = range(bucket_of(OPEN_UTC), until_utc + 1, BUCKET_NS)
        return [await self.seal(bucket_utc) for bucket_utc in buckets]

    def published_n(self) -> int:
        """Frames that the server put into this hub's sessions."""
        return sum(s.sequence for s in self.server.registry.connections.values() if s.hub == self.vendor_hub)

    def has_published(self, more_than: int) -> bool:
        return self.published_n() > more_than

    def unacked_n(self) -> int:
        return sum(s.unacked_n for s in self.server.registry.connections.values() if s.hub == self.vendor_hub)

    async def drained(self, fake: FakeMarket) -> None:
        """Let some frames flow, end the market's day, and wait until the client has acknowledged everything."""
        await until(lambda: self.published_n() > 5)
        fake.close_utc = Utc(0)
        await until(lambda: self.unacked_n() == 0)


@asynccontextmanager
async def connected(client: Client) -> AsyncIterator[Client]:
    client.port.start()
    try:
        await client.dial()
        assert not (await client.listener.next(market.HubUp)).recovered
        yield client
    finally:
        await asyncio.to_thread(client.port.close)
