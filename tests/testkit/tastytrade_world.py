"""The simulated REST broker in a thread of its own, and order ports that talk to it over real sockets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from domain.instants import MINUTE
from domain.instruments import Contract, OrderType, Side
from domain.orders.request import OrderChange, OrderRequest
from domain.session.modes import AccountClass
from gateways.contract_book import ContractBook
from gateways.tastytrade.orders_port import TastytradeOrdersPort
from gateways.tastytrade.session import Secrets
from messages import broker
from messages.base import Message
from simulation.broker.exchange import Exchange
from simulation.tastytrade.faults import TastytradeFaults
from simulation.tastytrade.server import TastytradeServer
from tests.testkit.gateway_world import FakeMarket
from tests.testkit.ibkr_world import EPOCH, Mailbox, RealClock, rules

SECRET = ("a-client-secret", "a-refresh-token")
WAIT_S = 60.0


class Hears(Protocol):
    """Whoever is told what a port says."""

    def tell(self, _to: str, message: Message) -> None:
        """Take a message."""


class World:
    """A broker on loopback, its market and exchange, and the thread that runs it; `port` is what its links name."""

    port = 4002

    def __init__(self) -> None:
        self.clock = RealClock()
        self.market: Any = FakeMarket()
        self.exchange = Exchange(self.market, latency_ms=1)
        self.server = TastytradeServer(self.market, self.exchange, self.clock, SECRET, period_s=0.005)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self.server.start())

    @property
    def faults(self) -> TastytradeFaults:
        return self.server.faults

    @property
    def call(self) -> Contract:
        """SPXW 6000 C of today, 5.00 at 5.10."""
        contract: Contract | None = self.market.contract(self.market.call)
        assert contract is not None
        return contract

    def run(self, work: Any) -> Any:
        """Run a coroutine on the broker's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    def do(self, call: Callable[[], Any]) -> Any:
        """Call something on the broker's loop."""

        async def once() -> Any:
            return call()

        return self.run(once())

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so at the broker; fail where it never is."""
        over_s = time.monotonic() + WAIT_S
        while not self.do(is_so):
            assert time.monotonic() < over_s, "it never came to be"

    def asked(self, method: str, end: str = "") -> int:
        """Return how many requests of a method came whose path ends so."""
        return sum((m, p.endswith(end)) == (method, True) for m, p in self.server.requests)

    def close(self) -> None:
        self.run(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)
        self.loop.close()


@contextmanager
def rest_broker() -> Iterator[World]:
    """Run a broker on a free port."""
    world = World()
    try:
        yield world
    finally:
        world.close()


def make_port(
    world: World, heard: Hears, *, secret: tuple[str, str] = SECRET, account: str | None = None,
    contracts: ContractBook | None = None, rest_url: str | None = None, **changes: int,
) -> TastytradeOrdersPort:  # fmt: skip
    """Make and start a port; not yet dialling."""
    port = TastytradeOrdersPort(
        "port:ibkr:paper", rest_url=rest_url or world.server.rest_url, stream_url=world.server.stream_url,
        secrets=Secrets(*secret), rules=rules(**changes), clock=world.clock, tell=heard.tell, account=account,
        ports={AccountClass.PAPER: world.port, AccountClass.LIVE: 4001},
        contracts=ContractBook(world.market.contracts("SPX")) if contracts is None else contracts,
    )  # fmt: skip
    port.start()
    return port


@contextmanager
def dialled(world: World, **more: Any) -> Iterator[tuple[TastytradeOrdersPort, Mailbox]]:
    """A port with a link, read back once."""
    heard = Mailbox()
    port = make_port(world, heard, **more)
    try:
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        heard.wait(broker.LinkUp)
        yield port, heard
    finally:
        port.close()


def place(world: World, ref: str = "ZH-paper-a-e", *, kill_epoch: int = 0, **more: Any) -> broker.PlaceOrder:
    """A buy of two SPXW calls, at the ask unless said."""
    fields: dict[str, Any] = {
        "order_ref": ref, "contract": world.call, "side": Side.BUY, "qty": 2, "order_type": OrderType.LIMIT,
        "limit_ticks": 510, "is_exit": False, "deadline_utc": world.clock.now_utc() + MINUTE,
    }  # fmt: skip
    return broker.PlaceOrder(order=OrderRequest(**(fields | more)), session_epoch=EPOCH, kill_epoch=kill_epoch)


def amend(world: World, ref: str = "ZH-paper-a-e", **more: Any) -> broker.AmendOrder:
    """The same order at another price."""
    fields: dict[str, Any] = {
        "order_ref": ref, "qty": 2, "order_type": OrderType.LIMIT, "limit_ticks": 510, "is_exit": False,
        "deadline_utc": world.clock.now_utc() + MINUTE,
    }  # fmt: skip
    return broker.AmendOrder(change=OrderChange(**(fields | more)), session_epoch=EPOCH, kill_epoch=0)
