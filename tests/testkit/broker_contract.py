"""What every broker port must do, as one walk through the broker conversation: hand it a bench with your port on it.

All ports walk it in `tests/gateways/test_broker_contract.py`; `docs/guides/add-a-broker.md` says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from domain.instants import SECOND
from domain.instruments import Contract, OrderType, Side
from domain.orders.capabilities import BrokerCapability
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import CodeMeaning, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.units import Qty, Ticks, Utc
from messages import broker
from messages.base import Message

T = TypeVar("T", bound=Message)
ENTRY, EXIT, KILLED, LATE = "ZH-paper-a-e", "ZH-paper-a-x1", "ZH-paper-b-e", "ZH-paper-c-e"


class Heard(Protocol):
    """What the port's owner has been told."""

    def wait(self, kind: type[T], fits: Callable[[T], bool] = ...) -> T:
        """Return the first message of a kind that fits, also one that has come already; fail where none comes."""

    def of(self, kind: type[T]) -> list[T]:
        """Return what has come of a kind."""


@dataclass(frozen=True)
class Bench:
    """A port that has started and not dialled, and a market in which nothing moves.

    A buy at `ask_ticks` fills at once, one at `far_ticks` rests, and so does a sell at `far_ask_ticks`; `contract` is
    not held.
    """

    port: broker.BrokerPort
    heard: Heard
    now_utc: Callable[[], Utc]
    contract: Contract
    ask_ticks: Ticks
    far_ticks: Ticks
    far_ask_ticks: Ticks


class Walk:
    """Commands of one session, and what has to come of them."""

    def __init__(self, bench: Bench, epoch: int) -> None:
        self._bench = bench
        self.post = bench.port.post
        self.wait = bench.heard.wait
        self.of = bench.heard.of
        self.epoch = epoch
        self._read_n = 0

    def dial(self) -> broker.LinkUp:
        self.post(broker.Dial(session_epoch=self.epoch, gateway_n=0))
        return self.wait(broker.LinkUp, lambda up: up.session_epoch == self.epoch)

    def place(
        self, ref: str, limit_ticks: Ticks | None, *, kill_epoch: int = 1, epoch: int | None = None, **more: Any
    ) -> None:
        fields: dict[str, Any] = {
            "contract": self._bench.contract, "side": Side.BUY, "qty": 2, "order_type": OrderType.LIMIT,
            "is_exit": False, "deadline_utc": self._bench.now_utc() + 10 * SECOND,
        }  # fmt: skip
        order = OrderRequest(order_ref=ref, limit_ticks=limit_ticks, **(fields | more))
        self.post(broker.PlaceOrder(order=order, session_epoch=epoch or self.epoch, kill_epoch=kill_epoch))

    def amend(self, ref: str, limit_ticks: Ticks | None, *, is_exit: bool = False, qty: int = 2) -> None:
        change = OrderChange(
            order_ref=ref, qty=Qty(qty), order_type=OrderType.LIMIT if limit_ticks is not None else OrderType.MARKET,
            limit_ticks=limit_ticks, is_exit=is_exit, deadline_utc=self._bench.now_utc() + 10 * SECOND,
        )  # fmt: skip
        self.post(broker.AmendOrder(change=change, session_epoch=self.epoch, kill_epoch=1))

    def read_back(self) -> broker.BrokerRead:
        self._read_n += 1
        self.post(broker.ReadBack(session_epoch=self.epoch, read_n=self._read_n))
        return self.wait(broker.BrokerRead, lambda r: (r.session_epoch, r.read_n) == (self.epoch, self._read_n))

    def status(self, ref: str, status: OrderStatus, limit_ticks: Ticks | None = None) -> broker.OrderStatusReported:
        return self.wait(
            broker.OrderStatusReported,
            lambda f: (
                (f.order_ref, f.status) == (ref, status) and limit_ticks in (None, f.limit_ticks) and f.perm_id > 0
            ),
        )

    def denied(self, ref: str) -> RejectCode:
        return self.wait(broker.OrderDenied, lambda f: f.order_ref == ref).code

    def unanswerable(self, ref: str) -> CodeMeaning:
        """Wait for the port's word that it cannot cancel an order; return what it means."""
        return self.wait(broker.ErrorReported, lambda f: f.order_ref == ref).meaning

    def filled(self, ref: str) -> list[broker.Execution]:
        """Wait for the whole of an order; return its executions, each once."""

        def found() -> dict[str, broker.Execution]:
            facts = [fact.execution for fact in self.of(broker.ExecutionReported)]
            return {execution.exec_id: execution for execution in facts if execution.order_ref == ref}

        self.wait(broker.ExecutionReported, lambda _: sum(execution.qty for execution in found().values()) == 2)
        return list(found().values())


def walk_conversation(bench: Bench) -> None:
    """Drive a port through the whole broker conversation.

    Raises:
        AssertionError: the port does not speak it.
    """
    walk = Walk(bench, epoch=1 << 20)
    _before_a_link(walk, bench)
    up = walk.dial()
    assert up.gateway_n == 0
    assert walk.wait(broker.AccountRead).session_epoch == walk.epoch
    clock = walk.wait(broker.ClockRead)
    assert clock.least_ms <= clock.most_ms
    assert walk.read_back().is_complete
    _last_check(walk, bench)
    _resting_order(walk, bench)
    _round_trip(walk, bench)
    walk.post(broker.CloseLink(session_epoch=walk.epoch))
    walk.place("ZH-paper-d-e", bench.far_ticks)
    assert walk.denied("ZH-paper-d-e") is RejectCode.NOT_CONNECTED
    again = Walk(bench, epoch=walk.epoch + 1)
    again.dial()
    assert {execution.order_ref for execution in again.read_back().executions} == {"ZH-paper-e-e", EXIT}


def _before_a_link(walk: Walk, bench: Bench) -> None:
    """Without a link nothing is written, and a read-back fails instead of being empty."""
    assert bench.port.name.startswith("port:")
    walk.post(broker.ReadBack(session_epoch=walk.epoch, read_n=0))
    assert walk.wait(broker.BrokerReadFailed).read_n == 0
    walk.place("ZH-paper-0-e", bench.far_ticks)
    assert walk.denied("ZH-paper-0-e") is RejectCode.NOT_CONNECTED
    walk.post(broker.WithdrawOrder(order_ref="ZH-paper-0-x1", session_epoch=walk.epoch))
    assert walk.unanswerable("ZH-paper-0-x1") is CodeMeaning.ORDER_UNKNOWN


def _last_check(walk: Walk, bench: Bench) -> None:
    """Kill latch, deadline and epoch hold at the socket; a latch of an older epoch loosens nothing."""
    walk.post(broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=1))
    walk.place(KILLED, bench.far_ticks)
    assert walk.denied(KILLED) is RejectCode.PERMIT_KILLED
    walk.post(broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=1))
    walk.place(LATE, bench.far_ticks, deadline_utc=bench.now_utc() - SECOND)
    assert walk.denied(LATE) is RejectCode.DEADLINE_PASSED
    walk.place("ZH-paper-f-e", bench.far_ticks, epoch=walk.epoch - 1)
    assert walk.denied("ZH-paper-f-e") is RejectCode.PERMIT_SESSION
    walk.place("ZH-paper-g-e", bench.far_ticks, kill_epoch=0)
    assert walk.denied("ZH-paper-g-e") is RejectCode.PERMIT_KILLED
    walk.post(broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=0))
    assert not walk.of(broker.OrderSent)


def _resting_order(walk: Walk, bench: Bench) -> None:
    """An order rests, is changed, stands in the read-back, and is cancelled without a fill."""
    walk.place(ENTRY, bench.far_ticks, good_till_utc=bench.now_utc() + 3_600 * SECOND)
    assert walk.wait(broker.OrderSent, lambda f: f.order_ref == ENTRY).session_epoch == walk.epoch
    walk.status(ENTRY, OrderStatus.WORKING, bench.far_ticks)
    walk.place(ENTRY, bench.far_ticks)
    assert walk.denied(ENTRY) is RejectCode.DUPLICATE_REF
    walk.amend(ENTRY, bench.far_ticks - 10)
    walk.status(ENTRY, OrderStatus.WORKING, bench.far_ticks - 10)
    (row,) = [order for order in walk.read_back().orders if order.order_ref == ENTRY]
    assert (row.is_working, row.qty, row.filled_qty, row.limit_ticks) == (True, 2, 0, bench.far_ticks - 10)
    walk.post(broker.WithdrawOrder(order_ref=ENTRY, session_epoch=walk.epoch))
    assert walk.status(ENTRY, OrderStatus.CANCELLED).filled_qty == 0
    assert not any(order.is_working for order in walk.read_back().orders)
    walk.place("ZH-paper-h-e", bench.far_ticks)
    walk.status("ZH-paper-h-e", OrderStatus.WORKING)
    walk.post(broker.CancelEverything(session_epoch=walk.epoch))
    walk.status("ZH-paper-h-e", OrderStatus.CANCELLED)


def _round_trip(walk: Walk, bench: Bench) -> None:
    """An entry fills, an exit rests and goes to market; executions, fees and positions agree with the read-back."""
    con_id, entry = bench.contract.con_id, "ZH-paper-e-e"
    walk.place(entry, bench.ask_ticks)
    bought = walk.filled(entry)
    assert {(e.con_id, e.side, e.price_ticks) for e in bought} == {(con_id, Side.BUY, bench.ask_ticks)}
    for execution in bought:
        fee = walk.wait(broker.CommissionReported, lambda f, e=execution: f.exec_id == e.exec_id)  # type: ignore[misc]
        assert fee.revision == execution.revision
    assert walk.status(entry, OrderStatus.FILLED).filled_qty == 2
    walk.wait(broker.PositionReported, lambda p: (p.contract.con_id, p.qty) == (con_id, 2))
    read = walk.read_back()
    assert [(p.contract, p.qty) for p in read.positions] == [(bench.contract, 2)]
    assert {e.exec_id: (e.revision, e.qty) for e in read.executions} == {e.exec_id: (e.revision, e.qty) for e in bought}
    walk.place(EXIT, bench.far_ask_ticks, side=Side.SELL, is_exit=True)
    walk.status(EXIT, OrderStatus.WORKING)
    walk.amend(EXIT, None, is_exit=True)
    assert {e.side for e in walk.filled(EXIT)} == {Side.SELL}
    walk.wait(broker.PositionReported, lambda p: (p.contract.con_id, p.qty) == (con_id, 0))
    assert walk.read_back().positions == ()


def walk_capabilities(bench: Bench) -> None:
    """Ask a port for what its capabilities say, and for what they do not say.

    Raises:
        AssertionError: it does less than it says, or more without a word.
    """
    walk, can = Walk(bench, epoch=1 << 20), bench.port.capabilities
    walk.dial()
    assert walk.read_back().is_complete
    _what_if(walk, bench, BrokerCapability.WHAT_IF in can)
    walk.place(ENTRY, bench.far_ticks)
    walk.status(ENTRY, OrderStatus.WORKING)
    walk.amend(ENTRY, bench.far_ticks, qty=3)
    if BrokerCapability.CHANGE_OF_SIZE in can:
        walk.wait(broker.OrderStatusReported, lambda f: (f.order_ref, f.qty) == (ENTRY, 3))
    else:
        assert walk.denied(ENTRY) is RejectCode.MISSING_INPUT
    if BrokerCapability.GOOD_TILL in can:
        walk.place(KILLED, bench.far_ticks, good_till_utc=bench.now_utc() + 2 * SECOND)
        walk.status(KILLED, OrderStatus.CANCELLED)
    if BrokerCapability.STOP in can:
        walk.place(LATE, bench.ask_ticks)
        walk.filled(LATE)
        more = {"side": Side.SELL, "is_exit": True, "order_type": OrderType.STOP, "stop_ticks": Ticks(300)}
        walk.place(EXIT, None, **more)
        walk.wait(broker.OrderStatusReported, lambda f: (f.order_ref, f.order_type) == (EXIT, OrderType.STOP))
        assert any(row.order_ref == EXIT and row.is_working for row in walk.read_back().orders)


def _what_if(walk: Walk, bench: Bench, is_said: bool) -> None:
    """A what-if is answered with a margin or a reason, and places nothing."""
    asked = OrderRequest(
        order_ref="ZH-paper-w-e", contract=bench.contract, side=Side.BUY, qty=Qty(1), order_type=OrderType.LIMIT,
        limit_ticks=bench.ask_ticks, is_exit=False, deadline_utc=bench.now_utc() + 10 * SECOND,
    )  # fmt: skip
    walk.post(broker.AskMargin(session_epoch=walk.epoch, request_id="1", reply_to="risk:paper", order=asked))
    told = walk.wait(broker.MarginTold)
    assert (told.request_id, told.reply_to) == ("1", "risk:paper")
    assert (told.init_margin_change_cents is not None) is is_said is not bool(told.why)
    assert not walk.of(broker.OrderSent)
