"""The simulated gateway in a thread of its own, and a mailbox that remembers what the ports say."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from config.settings import Settings, load_settings
from config.tree import Gateway
from domain.instants import MINUTE, SECOND
from domain.instruments import Contract, OrderType, Side
from domain.orders.request import OrderChange, OrderRequest
from domain.units import Utc
from gateways.ib.link import IbPort
from gateways.ib.orders_port import OrdersPort
from gateways.ib.quotes_port import QuotesPort
from messages import broker
from messages.base import Message
from simulation.broker.exchange import Exchange
from simulation.gateway.faults import Fault
from simulation.gateway.server import GatewayServer
from tests.testkit.gateway_world import NOON, FakeMarket

T = TypeVar("T", bound=Message)
SETTINGS = load_settings(profile="real")
EPOCH = 1 << 20
PATIENT = {"connect_timeout_ms": 20_000, "heartbeat_max_ms": 20_000}


class RealClock:
    """Market time from noon on, at the world's pace; any thread may read it."""

    rate = 1.0

    def __init__(self) -> None:
        self._from_s = time.monotonic()

    def now_utc(self) -> Utc:
        return NOON + int((time.monotonic() - self._from_s) * SECOND)


class Mailbox:
    """Keeps what is told and wakes whoever waits for it."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self._news = threading.Condition()

    def tell(self, _to: str, message: Message) -> None:
        with self._news:
            self.heard.append(message)
            self._news.notify_all()

    def of(self, kind: type[T]) -> list[T]:
        with self._news:
            return [message for message in self.heard if isinstance(message, kind)]

    def wait(self, kind: type[T], fits: Callable[[T], bool] = lambda _: True, timeout_s: float = 60.0) -> T:
        """Return the first message of this kind that fits; fails the test after the timeout."""
        found: list[T] = []

        def look() -> bool:
            found[:] = [message for message in self.heard if isinstance(message, kind) and fits(message)]
            return bool(found)

        with self._news:
            assert self._news.wait_for(look, timeout_s), f"no {kind.__name__}; heard {self.heard[-12:]}"
        return found[0]


class World:
    """A gateway on loopback, its market and exchange, and the thread that runs it."""

    def __init__(
        self, *faults: Fault, lines_max: int = 100, market: Any = None, others: tuple[str, ...] = (),
        account: str = "DU1234567",
    ) -> None:  # fmt: skip
        self.clock = RealClock()
        self.market: Any = FakeMarket(NOON) if market is None else market
        self.exchange = Exchange(self.market, account=account, latency_ms=1)
        self.others = tuple(
            Exchange(self.market, account=name, latency_ms=1, number=number) for number, name in enumerate(others, 1)
        )
        self.loop = asyncio.new_event_loop()
        self.server = GatewayServer(
            self.market, self.exchange, self.clock, faults,
            lines_max=lines_max, latency_s=0.002, period_s=0.01, others=self.others,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.port: int = self.run(self.server.start())

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def run(self, work: Any) -> Any:
        """Run a coroutine on the gateway's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60.0)

    def do(self, call: Callable[[], Any]) -> Any:
        """Call something on the gateway's loop."""

        async def once() -> Any:
            return call()

        return self.run(once())

    def inject(self, fault: Fault) -> None:
        self.do(lambda: self.server.inject(fault))

    def close(self) -> None:
        self.run(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)

    @property
    def call(self) -> Contract:
        """SPXW 6000 C of today, 5.00 at 5.10."""
        contract: Contract | None = self.market.contract(self.market.call)
        assert contract is not None
        return contract


def rules(**changes: int) -> Any:
    """The connection's rules with some changed; a link that a busy machine keeps waiting is none that is lost."""
    import dataclasses  # noqa: PLC0415

    return dataclasses.replace(SETTINGS.connection, **(PATIENT | changes))


def settings_for(port: int, **changes: int) -> Settings:
    """Settings of a paper desk on this port."""
    import dataclasses  # noqa: PLC0415

    broker = dataclasses.replace(SETTINGS.broker, gateways=(Gateway("127.0.0.1", port),), paper_port=port)
    return SETTINGS.model_copy(update={"broker": broker, "connection": rules(**changes)})


@contextmanager
def gateway(*faults: Fault, lines_max: int = 100, market: Any = None, others: tuple[str, ...] = ()) -> Iterator[World]:
    """Run a gateway on a free port; `market` takes the place of the few contracts that most tests need.

    `others` are further accounts of its login.
    """
    world = World(*faults, lines_max=lines_max, market=market, others=others)
    try:
        yield world
    finally:
        world.close()


def make_port(
    kind: type[IbPort], world: World | None, tell: Any, *, port: int = 0, client_id: int = 11,
    account: str | None = None, account_key: str = "", **changes: int,
) -> Any:  # fmt: skip
    """Make a port of a kind for this gateway (or for the one at `port`); not yet dialling."""
    name = "port:ibkr:paper" if kind is OrdersPort else "port:quotes:paper"
    made = kind(
        name,
        gateways=(Gateway("127.0.0.1", port or (world.port if world is not None else 0)),),
        client_id=client_id,
        rules=rules(**changes),
        clock=world.clock if world is not None else RealClock(),
        tell=tell,
        account=account,
        **({"account_key": account_key} if account_key else {}),
    )
    made.start()
    return made


@contextmanager
def orders_port(
    world: World,
    *,
    is_dialled: bool = True,
    account: str | None = None,
    account_key: str = "",
    at_port: int = 0,
    **changes: int,
) -> Iterator[tuple[OrdersPort, Mailbox]]:
    """An order port and its mailbox, connected and read back once (which subscribes to positions).

    `at_port` is where it dials in place of the gateway's own port.
    """
    mailbox = Mailbox()
    port = make_port(
        OrdersPort, world, mailbox.tell, account=account, account_key=account_key, port=at_port, **changes
    )  # fmt: skip
    try:
        if is_dialled:
            port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
            mailbox.wait(broker.LinkUp)
            port.post(broker.ReadBack(session_epoch=EPOCH, read_n=0))
            mailbox.wait(broker.BrokerRead)
        yield port, mailbox
    finally:
        port.close()


@contextmanager
def quotes_port(world: World, **changes: int) -> Iterator[tuple[QuotesPort, Mailbox]]:
    """A market-data port and its mailbox, connected."""
    mailbox = Mailbox()
    port = make_port(QuotesPort, world, mailbox.tell, client_id=12, **changes)
    try:
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        mailbox.wait(broker.LinkUp)
        yield port, mailbox
    finally:
        port.close()


def place(
    world: World, ref: str = "ZH-paper-a-e", *, session_epoch: int = EPOCH, kill_epoch: int = 0, **more: Any
) -> broker.PlaceOrder:
    """A buy of two SPXW calls, at the ask unless said."""
    fields: dict[str, Any] = {
        "order_ref": ref, "contract": world.call, "side": Side.BUY, "qty": 2, "order_type": OrderType.LIMIT,
        "limit_ticks": 510, "is_exit": False, "deadline_utc": world.clock.now_utc() + MINUTE,
    }  # fmt: skip
    order = OrderRequest(**(fields | more))
    return broker.PlaceOrder(order=order, session_epoch=session_epoch, kill_epoch=kill_epoch)


def amend(world: World, ref: str = "ZH-paper-a-e", **more: Any) -> broker.AmendOrder:
    """The same order again, as a change."""
    fields: dict[str, Any] = {
        "order_ref": ref, "qty": 2, "order_type": OrderType.LIMIT, "limit_ticks": 510, "is_exit": False,
        "deadline_utc": world.clock.now_utc() + MINUTE,
    }  # fmt: skip
    return broker.AmendOrder(change=OrderChange(**(fields | more)), session_epoch=EPOCH, kill_epoch=0)
