"""A provider over a small market in a thread of its own, and the port that listens to it."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import date
from datetime import time as wall
from typing import Any, TypeVar

import msgspec

from config.settings import Settings, load_settings
from config.tree import Provider
from domain.instants import BUCKET_NS, SECOND, at_exchange
from domain.options.chain_rows import CATEGORIES
from domain.units import Utc
from gateways.bucket_port import PortSetup
from gateways.market_data.hub_port import ProviderPort
from messages import market
from messages.base import Message
from simulation.market.market import Market
from simulation.market_data.server import ProviderServer

KEY = "a-provider-key-that-nobody-may-see"
SESSION = date(2026, 11, 20)
FIRST = at_exchange(SESSION, wall(10, 0))
WAIT_S = 60.0

T = TypeVar("T")


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.utc = Utc(FIRST)

    def now_utc(self) -> Utc:
        return self.utc


def settings_of(**provider: Any) -> Settings:
    """Return settings of the source `provider` with one ticker; quick pauses."""
    rules = {"retry_min_ms": 10, "retry_max_ms": 20, "breaker_failures": 1_000}
    over = {"feed": {"source": "provider", "rules": rules, "provider": {"silent_after_ms": 30_000, **provider}}}
    return load_settings(profile="demo", overrides=over).model_copy(
        update={"tickers": ("SPX",), "spot_only": ("VIX", "SPY"), "lanes": {"gexwatch": ("SPX",)}}
    )


class World:
    """A running server and a port; `with` ends both."""

    def __init__(
        self, *, key: str = KEY, starts: bool = True, tickers: tuple[str, ...] = ("SPX",), **provider: Any
    ) -> None:
        self.clock = Clock()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server = ProviderServer(Market(7, SESSION, ("SPX", "SPY")), self.clock, KEY, interval_s=0.02)
        self.do(self.server.start())
        self.settings = settings_of(rest_url=self.server.rest_url, stream_url=self.server.stream_url, **provider)
        self.told: queue.Queue[Message] = queue.Queue()
        self.whole = threading.Event()
        setup = PortSetup(
            "provider", tuple((ticker, category) for ticker in tickers for category in CATEGORIES),
            lambda _, message: self.told.put(message),
            self.clock.now_utc, on_whole=lambda *_: self.whole.set(), whole_from_ns=20 * SECOND,
        )  # fmt: skip
        self.port = ProviderPort(setup, self.provider, self.settings.feed.rules, key, self.settings.spot_only)
        self._is_started = False
        if starts:
            self.start()

    def start(self) -> None:
        """Start the port."""
        self._is_started = True
        self.port.start()

    @property
    def provider(self) -> Provider:
        return self.settings.feed.provider

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_started:
            self.port.close()
        self.do(self.server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the server's thread do something, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so.

        Raises:
            AssertionError: it never was.
        """
        over_s = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < over_s, "it never came to be"
            threading.Event().wait(0.005)

    def bucket(self, n: int = 0) -> market.BucketSealed:
        """Let the clock reach the n-th bucket's end, wait until it is whole, and have it sealed."""
        bucket_utc = Utc(FIRST + n * BUCKET_NS)
        self.whole.clear()
        self.clock.utc = Utc(bucket_utc + 22 * SECOND)
        if not n:
            self.port.post(market.DialHub(feed_epoch=1))
        assert self.whole.wait(WAIT_S), self.port.notes()
        return self.seal(n)

    def end_for(self, why: str) -> market.HubDown:
        """Dial, wait until a bucket lacks its chain for a reason, let it pass, and return how the session ends."""
        self.clock.utc = Utc(FIRST + 22 * SECOND)
        self.port.post(market.DialHub(feed_epoch=1))
        self.until(lambda: any(why in note for note in self.port.notes()))
        self.clock.utc = Utc(FIRST + BUCKET_NS)
        return self.hear(market.HubDown)

    def seal(self, n: int = 0) -> market.BucketSealed:
        """Have a bucket sealed as it is."""
        self.port.post(market.SealBucket(bucket_utc=Utc(FIRST + n * BUCKET_NS)))
        return self.hear(market.BucketSealed)

    def hear(self, kind: type[T]) -> T:
        """Return the next message of a kind; the others are passed over."""
        while True:
            message = self.told.get(timeout=WAIT_S)
            if isinstance(message, kind):
                return message


def raws(*rows: dict[str, Any]) -> list[msgspec.Raw]:
    """Return rows as a page's results."""
    return msgspec.json.decode(msgspec.json.encode(rows), type=list[msgspec.Raw])
