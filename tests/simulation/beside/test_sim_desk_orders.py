"""A sim desk's order port: only live quotes fill, and whoever waits for them is told so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, time
from pathlib import Path
from typing import TypeVar

import pytest

from config.tree import SimDesk
from domain.instants import SECOND, at_exchange
from domain.instruments import Contract, DataType, OrderType, Quote, Right, Side, Spot
from domain.orders.request import OrderRequest
from domain.orders.table import CodeMeaning
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.units import Cents, Qty, Ticks, Utc
from messages import broker, market
from messages.base import Message
from simulation.beside.heard_market import HeardMarket
from simulation.beside.orders_port import SimOrdersPort
from tests.testkit.live import eventually

NOON = at_exchange(date(2026, 11, 20), time(12))
CALL = Contract(7, "SPX", "SPXW", date(2026, 11, 20), Ticks(600_000), Right.CALL)
M = TypeVar("M", bound=Message)


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def now_utc(self) -> Utc:
        return self.now


def request(
    order_ref: str, side: Side, order_type: OrderType = OrderType.MARKET, *, is_exit: bool
) -> OrderRequest:  # fmt: skip
    limit = Ticks(600) if order_type is OrderType.LIMIT else None
    return OrderRequest(
        order_ref=order_ref, contract=CALL, side=side, qty=Qty(1), order_type=order_type, limit_ticks=limit,
        is_exit=is_exit, deadline_utc=Utc(NOON + 3600 * SECOND),
    )  # fmt: skip


class SimDeskWorld:
    """The port on its own thread; what it tells is kept."""

    def __init__(self, book: Path) -> None:
        self.clock, self._told, self._lock = Hand(), list[Message](), threading.Lock()
        self.heard = HeardMarket(NOON, (), (CALL,), SimDesk())
        self.port = SimOrdersPort(
            "port:ibkr:model", self.clock, self._tell, self.heard, book, cash_cents=Cents(10_000_000), latency_ms=20,
            port=4002,
        )  # fmt: skip
        self.quote(DataType.LIVE)
        self.port.start()
        self.port.post(broker.Dial(session_epoch=1, gateway_n=0))
        self.until(lambda: bool(self.told(broker.LinkUp)))

    def _tell(self, _to: str, message: Message) -> None:
        with self._lock:
            self._told.append(message)

    def told(self, kind: type[M]) -> list[M]:
        with self._lock:
            return [message for message in self._told if isinstance(message, kind)]

    def quote(self, kind: DataType) -> None:
        quote = Quote(CALL.con_id, Ticks(500), Ticks(510), Qty(10), Qty(10), self.clock.now, kind)
        spots = (Spot("SPX", Ticks(600_500), self.clock.now, kind),)
        self.heard.hear(market.QuotesArrived(session_epoch=1, quotes=(quote,), spots=spots))

    def place(self, order_ref: str, side: Side, order_type: OrderType, *, is_exit: bool) -> None:
        order = request(order_ref, side, order_type, is_exit=is_exit)
        self.port.post(broker.PlaceOrder(order=order, session_epoch=1, kill_epoch=0))

    def until(self, is_so: Callable[[], bool]) -> None:
        """Let market time go by until something is so."""

        def look() -> bool:
            self.clock.now = Utc(self.clock.now + SECOND)
            return is_so()

        assert eventually(look)

    def filled(self) -> list[str]:
        return [fact.execution.order_ref for fact in self.told(broker.ExecutionReported)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SimDeskWorld]:
    with opened(tmp_path / "book") as made:
        yield made


@contextmanager
def opened(book: Path) -> Iterator[SimDeskWorld]:
    made = SimDeskWorld(book)
    try:
        yield made
    finally:
        made.port.close()


LATE = [DataType.DELAYED, DataType.DELAYED_FROZEN, DataType.FROZEN, DataType.UNKNOWN]


@pytest.mark.parametrize("kind", LATE)
def test_an_entry_is_denied_while_the_quote_is_not_live(world: SimDeskWorld, kind: DataType) -> None:
    world.quote(kind)
    world.place("in", Side.BUY, OrderType.LIMIT, is_exit=False)
    world.until(lambda: bool(world.told(broker.OrderDenied)))
    (denied,) = world.told(broker.OrderDenied)
    assert (denied.order_ref, denied.code) == ("in", RejectCode.DELAYED_DATA)
    assert f"(market data type {kind.value})" in denied.why
    assert world.filled() == []


@pytest.mark.parametrize("kind", LATE)
def test_an_exit_waits_for_a_live_quote_and_it_is_told_once_why(world: SimDeskWorld, kind: DataType) -> None:
    world.place("in", Side.BUY, OrderType.LIMIT, is_exit=False)
    world.until(lambda: world.filled() == ["in"])
    world.quote(kind)
    world.place("out", Side.SELL, OrderType.MARKET, is_exit=True)
    world.until(lambda: bool(world.told(broker.ErrorReported)))
    clocks = len(world.told(broker.ClockRead))
    world.until(lambda: len(world.told(broker.ClockRead)) > clocks + 1)  # 30 s of market time each
    assert world.filled() == ["in"]
    (notice,) = world.told(broker.ErrorReported)
    assert (notice.order_ref, notice.text.partition(":")[0]) == ("out", "delayed_data")
    world.quote(DataType.LIVE)
    world.until(lambda: world.filled() == ["in", "out"])
    assert len(world.told(broker.ErrorReported)) == 1


def test_what_worked_when_the_data_was_live_does_not_fill_on_what_comes_late(world: SimDeskWorld) -> None:
    world.heard.hear(broker.LinkLost(session_epoch=1, cause="closed"))  # nothing is quoted
    world.place("in", Side.BUY, OrderType.LIMIT, is_exit=False)
    world.until(lambda: bool(world.told(broker.OrderSent)))
    assert world.told(broker.ErrorReported) == []
    world.quote(DataType.DELAYED)
    world.until(lambda: bool(world.told(broker.ErrorReported)))
    assert world.filled() == []


def test_what_the_port_has_not_come_to_when_it_closes_is_refused_and_not_lost(tmp_path: Path) -> None:
    heard = HeardMarket(NOON, (), (CALL,), SimDesk())
    told: list[Message] = []
    port = SimOrdersPort(
        "port:ibkr:model", Hand(), lambda _to, message: told.append(message), heard, tmp_path / "book",
        cash_cents=Cents(10_000_000), latency_ms=20, port=4002,
    )  # fmt: skip
    port.post(broker.PlaceOrder(order=request("out", Side.SELL, is_exit=True), session_epoch=1, kill_epoch=0))
    port.post(broker.WithdrawOrder(order_ref="in", session_epoch=1))
    port.post(broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=1))
    assert told == []
    port.close()
    denied, error = told
    assert isinstance(denied, broker.OrderDenied)
    assert isinstance(error, broker.ErrorReported)
    assert (denied.order_ref, denied.code) == ("out", RejectCode.NOT_CONNECTED)
    assert (error.order_ref, error.meaning) == ("in", CodeMeaning.ORDER_UNKNOWN)
