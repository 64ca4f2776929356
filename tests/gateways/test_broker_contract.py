"""Every broker port walks through the whole broker conversation and hears the same things."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar, cast, get_args, get_type_hints

import pytest

from config.tree import Broker
from domain.instants import SECOND
from domain.orders.capabilities import CAPABILITIES, BrokerCapability, can
from domain.units import Utc
from gateways.brokers import BROKERS as ROWS
from gateways.contract_book import ContractBook
from gateways.ib.orders_port import OrdersPort
from messages.base import Message
from simulation.broker.exchange import Exchange
from simulation.inprocess.broker import InProcessBroker
from simulation.inprocess.tastytrade import SECRETS, SteppedTastytrade
from simulation.tastytrade.service import TastytradeService
from tests.testkit.acme_port import AcmeOrdersPort
from tests.testkit.broker_contract import Bench, walk_capabilities, walk_conversation
from tests.testkit.gateway_world import NOON, FakeMarket
from tests.testkit.ibkr_world import Mailbox, RealClock, gateway, make_port, rules
from tests.testkit.tastytrade_world import make_port as make_rest_port
from tests.testkit.tastytrade_world import rest_broker

T = TypeVar("T", bound=Message)


class VirtualTime:
    """The part of the stepped runtime that a port uses: calls at instants, and the owner's mail."""

    latched: str | None = None

    def __init__(self) -> None:
        self.latched_groups: dict[str, str] = {}
        self.now = NOON
        self.clock = SimpleNamespace(now_utc=lambda: self.now)
        self.heard: list[Message] = []
        self._calls: list[tuple[Utc, int, Callable[[], None]]] = []
        self._n = 0

    def call_at(self, at_utc: Utc, call: Callable[[], None]) -> None:
        self._n += 1
        heapq.heappush(self._calls, (at_utc, self._n, call))

    def post(self, _to: str, message: Message, _sender: str) -> None:
        self.heard.append(message)

    def of(self, kind: type[T]) -> list[T]:
        return [message for message in self.heard if isinstance(message, kind)]

    def wait(self, kind: type[T], fits: Callable[[T], bool] = lambda _: True) -> T:
        until = self.now + 60 * SECOND
        while not (found := [message for message in self.of(kind) if fits(message)]):
            assert self._calls[0][0] <= until, f"no {kind.__name__}; heard {self.heard[-8:]}"
            self.now, _, call = heapq.heappop(self._calls)
            call()
        return found[0]


@contextmanager
def ib() -> Iterator[Bench]:
    with gateway() as world:
        heard = Mailbox()
        port: Any = make_port(OrdersPort, world, heard.tell)
        try:
            yield Bench(port, heard, world.clock.now_utc, world.call, 510, 450, 600)
        finally:
            port.close()


@contextmanager
def in_process() -> Iterator[Bench]:
    market, time = FakeMarket(), VirtualTime()
    runtime: Any = time
    port = InProcessBroker("ibkr:paper", runtime, market, Exchange(market, latency_ms=1))
    contract = market.contract(market.call)
    assert contract is not None
    yield Bench(port, time, lambda: time.now, contract, 510, 450, 600)


@contextmanager
def tastytrade() -> Iterator[Bench]:
    with rest_broker() as world:
        heard = Mailbox()
        port = make_rest_port(world, heard)
        try:
            yield Bench(port, heard, world.clock.now_utc, world.call, 510, 450, 600)
        finally:
            port.close()


@contextmanager
def tastytrade_on_virtual_time() -> Iterator[Bench]:
    market, time = FakeMarket(), VirtualTime()
    contract = market.contract(market.call)
    assert contract is not None
    runtime, exchange = cast("Any", time), Exchange(market, latency_ms=1)
    service = TastytradeService(market, exchange, time.clock, SECRETS, now_s=lambda: time.now / SECOND)
    port = SteppedTastytrade("ibkr:paper", runtime, service, rules(), 4002, ContractBook(market.contracts("SPX")))
    try:
        yield Bench(port, time, lambda: time.now, contract, 510, 450, 600)
    finally:
        port.close()


@contextmanager
def example_of_the_guide() -> Iterator[Bench]:
    market, clock, heard = FakeMarket(), RealClock(), Mailbox()
    contract = market.contract(market.call)
    assert contract is not None
    port = AcmeOrdersPort("port:ibkr:paper", tell=heard.tell, now_utc=clock.now_utc, port=4002)
    port.start()
    try:
        yield Bench(port, heard, clock.now_utc, contract, ask_ticks=510, far_ticks=450, far_ask_ticks=600)
    finally:
        port.close()


BROKERS = (ib, in_process, tastytrade, tastytrade_on_virtual_time, example_of_the_guide)


@pytest.mark.parametrize("bench_of", BROKERS, ids=lambda bench_of: bench_of.__name__)
def test_order_port_speaks_the_broker_conversation(bench_of: Callable[[], AbstractContextManager[Bench]]) -> None:
    with bench_of() as bench:
        walk_conversation(bench)


@pytest.mark.parametrize("bench_of", BROKERS, ids=lambda bench_of: bench_of.__name__)
def test_order_port_does_what_its_capabilities_say(bench_of: Callable[[], AbstractContextManager[Bench]]) -> None:
    with bench_of() as bench:
        walk_capabilities(bench)


def test_every_broker_of_the_settings_has_capabilities_and_a_row() -> None:
    names = set(get_args(get_type_hints(Broker)["orders"]))
    assert names == set(CAPABILITIES) == set(ROWS)
    assert not can("a broker that nobody knows", BrokerCapability.WHAT_IF)
