"""The actor with its port on a real socket to the simulated gateway; a small ledger stands in for the desk's."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, TypeVar

from actors.ibkr import IBKRActor
from actors.ibkr.state import IBKRState
from domain.instants import MINUTE, SECOND
from domain.instruments import OrderType, Side
from domain.orders.intent import Permit
from domain.orders.request import OrderChange, OrderRequest
from domain.session.modes import Mode
from gateways.ib.orders_port import OrdersPort
from messages import broker, orders, session
from messages.base import Message
from messages.lifecycle import Started
from messages.positions import BrokerPositionRead
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.ibkr_world import gateway, make_port, settings_for
from tests.testkit.probe import Outbox, Probe

T = TypeVar("T", bound=Message)
QUICK = {
    "warm_up_ms": 50, "heartbeat_every_ms": 50, "heartbeat_max_ms": 5_000, "retry_fast_ms": 20, "query_wait_ms": 3_000,
    "abandon_wait_ms": 2_000,
}  # fmt: skip
ENTRY, EXIT = "ZH-paper-aaaaaaaaaaaa-e", "ZH-paper-aaaaaaaaaaaa-x1"
OWNER = "position:paper:1007"


class Desk:
    """Runs one actor in the test's thread: its mail, its timers, and a ledger that adopts every execution once."""

    def __init__(self, world: Any) -> None:
        self.world = world
        actor = IBKRActor("ibkr:paper", settings_for(world.port, **QUICK))
        self.probe: Probe[IBKRState] = Probe(actor, world.clock.now_utc())
        self.mail: queue.Queue[Message] = queue.Queue()
        self.executions: dict[str, int] = {}
        self.recorded_n = 0
        self.port = self.port_of(world)
        self.mail.put(Started(name="ibkr:paper", incarnation=1, run_n=1))

    def port_of(self, world: Any) -> broker.BrokerPort:
        """Make and start the port; what it hears goes to the mail."""
        port: OrdersPort = make_port(OrdersPort, world, self.hear, **QUICK)
        return port

    def close(self) -> None:
        """End the port."""
        self.port.close()

    def hear(self, _to: str, message: Message) -> None:
        self.mail.put(message)

    @property
    def state(self) -> IBKRState:
        return self.probe.state

    def until(self, is_reached: Callable[[], object], timeout_s: float = 60.0) -> None:
        """Handle mail and timers until something holds."""
        deadline_s = time.monotonic() + timeout_s
        while not is_reached():
            assert time.monotonic() < deadline_s, f"mode {self.state.mode}; {self.probe.sent.messages[-8:]}"
            now = self.world.clock.now_utc()
            due = min(((at, key) for key, at in self.probe.timers.items()), default=None)
            if due is not None and due[0] <= now:
                self.probe.now = now
                self._carry_out(self.probe.fire(*due[1]))
                continue
            try:
                message = self.mail.get(timeout=(due[0] - now) / SECOND if due is not None else 1.0)
            except queue.Empty:
                continue
            self._carry_out(self.probe.feed(message, self.world.clock.now_utc()))

    def _carry_out(self, outbox: Outbox) -> None:
        for message in outbox.messages:
            match message:
                case (
                    broker.Dial() | broker.CloseLink() | broker.ReadBack() | broker.LatchKill() | broker.PlaceOrder()
                    | broker.AmendOrder() | broker.WithdrawOrder()
                ):  # fmt: skip
                    self.port.post(message)
                case orders.RecordExecution():
                    self._record(message.execution)
                case session.Reconcile():
                    for execution in message.read.executions:
                        self._record(execution)
                    nothing: dict[str, tuple[()]] = dict.fromkeys(
                        ("cancel_refs", "foreign_positions", "foreign_orders", "unverified", "mismatches"), ()
                    )
                    fact = session.Reconciled(
                        session_epoch=message.session_epoch, read_n=message.read.read_n, adopted_fills=0, **nothing
                    )
                    self.mail.put(fact)
                case _:
                    pass

    def _record(self, execution: broker.Execution) -> None:
        self.recorded_n += execution.exec_id not in self.executions
        self.executions[execution.exec_id] = execution.qty

    def of(self, kind: type[T]) -> list[T]:
        return [message for message in self.probe.sent.messages if isinstance(message, kind)]

    def is_closed_and_recorded(self) -> bool:
        return bool(self.of(orders.OrderClosed)) and self.recorded_n > 0

    def live(self) -> None:
        self.until(lambda: self.state.mode is Mode.FULLY_LIVE)

    def permit(self) -> Permit:
        return Permit(0, self.state.session_epoch, self.world.clock.now_utc() + MINUTE)

    def submit(self, ref: str = ENTRY, side: Side = Side.BUY, limit_ticks: int = 510, held: int = 0) -> None:
        is_exit, deadline_utc = side is Side.SELL, self.world.clock.now_utc() + MINUTE
        order = OrderRequest(
            order_ref=ref, contract=self.world.call, side=side, qty=2, order_type=OrderType.LIMIT,
            limit_ticks=limit_ticks, is_exit=is_exit, deadline_utc=deadline_utc,
            good_till_utc=None if is_exit else deadline_utc - deadline_utc % SECOND + SECOND,
        )  # fmt: skip
        permit = None if is_exit else self.permit()
        self.mail.put(orders.SubmitOrder(order=order, reply_to=OWNER, permit=permit, held_qty=held))

    def query(self) -> None:
        self.mail.put(orders.RequestOrderState(order_ref=ENTRY, reply_to=OWNER))

    def makes_a_round_trip(self) -> None:
        """Go from dialling to live, buy, and sell again; the broker agrees each time."""
        self.live()
        self.submit()
        self.until(lambda: self.executions and self.of(orders.OrderClosed))
        self.until(lambda: self.state.position(self.world.call.con_id) == 2)
        self.submit(EXIT, Side.SELL, 500, held=2)
        self.until(lambda: len(self.of(orders.OrderClosed)) == 2)
        self.until(lambda: [p for p in self.of(BrokerPositionRead) if p.qty == 0])
        assert list(self.executions.values()) == [2, 2]


@contextmanager
def desk(*faults: Fault) -> Iterator[Desk]:
    with gateway(*faults) as world, closing(Desk(world)) as it:
        yield it


def test_from_dial_to_live_to_a_round_trip_that_the_broker_agrees_with() -> None:
    with desk() as d:
        d.makes_a_round_trip()


def test_drop_of_the_gateway_finds_the_fill_of_the_outage_once_and_comes_back_live() -> None:
    with desk() as d:
        d.live()
        d.submit(limit_ticks=450)
        d.until(lambda: d.of(orders.OrderAcknowledged))
        d.world.inject(Fault(FaultKind.DROP_REFUSE, duration_s=0.3))
        d.until(lambda: d.state.mode is Mode.DEGRADED)
        d.world.do(lambda: d.world.market.set(d.world.market.call, 440, 450))
        d.live()
        assert d.recorded_n == 1
        assert [c.filled_qty_total for c in d.of(orders.OrderClosed)] == [2]
        assert d.world.do(lambda: d.world.exchange.position(d.world.call.con_id).qty) == 2


def test_half_open_link_is_given_up_and_the_order_of_the_dead_socket_is_found_whatever_became_of_it() -> None:
    with desk() as d:
        d.live()
        d.world.inject(Fault(FaultKind.DROP_HALF_OPEN, duration_s=3_600.0))
        d.submit()
        d.until(lambda: d.state.mode is Mode.DEGRADED)
        d.world.do(d.world.server.end_faults)
        d.live()
        d.query()
        d.until(lambda: d.of(orders.OrderFound) or d.of(orders.OrderNotFound))
        held = d.world.do(lambda: d.world.exchange.position(d.world.call.con_id).qty)
        assert sum(d.executions.values()) == held


def test_1100_then_1102_reads_back_the_fill_that_was_never_told() -> None:
    with desk() as d:
        d.live()
        d.submit(limit_ticks=450)
        d.until(lambda: d.of(orders.OrderAcknowledged))
        d.world.inject(Fault(FaultKind.LINK_LOST, duration_s=3_600.0, args={"repeat": 3}))
        d.until(lambda: d.state.mode is Mode.DEGRADED)
        d.world.do(lambda: d.world.market.set(d.world.market.call, 440, 450))
        d.submit(EXIT, Side.SELL, 400, held=2)
        d.until(lambda: d.of(orders.ExitHeld))
        d.until(lambda: d.world.do(lambda: d.world.exchange.position(d.world.call.con_id).qty) == 2)
        d.world.do(d.world.server.end_faults)
        d.live()
        assert d.recorded_n == 1
        modes = [change.mode for change in d.of(session.ModeChanged)]
        assert modes[-3:] == [Mode.DEGRADED, Mode.WARMUP, Mode.FULLY_LIVE]


def test_modify_that_meets_a_fill_closes_the_order_filled_and_never_cancelled() -> None:
    for kind in (FaultKind.MODIFY_104_THEN_FILL, FaultKind.MODIFY_104_EXECUTION_ONLY, FaultKind.MODIFY_FILL_THEN_104):
        with desk(Fault(kind)) as d:
            d.live()
            d.submit(limit_ticks=450)
            d.until(partial(d.of, orders.OrderAcknowledged))
            change = OrderChange(
                order_ref=ENTRY, qty=2, order_type=OrderType.LIMIT, limit_ticks=460, is_exit=False,
                deadline_utc=d.world.clock.now_utc() + MINUTE,
            )  # fmt: skip
            d.mail.put(orders.ModifyOrder(change=change, reply_to=OWNER, permit=d.permit()))
            d.until(d.is_closed_and_recorded)
            assert [(c.cause, c.filled_qty_total) for c in d.of(orders.OrderClosed)] == [("filled", 2)]
            assert sum(d.executions.values()) == 2


def test_silent_gateway_is_asked_and_says_that_the_order_lives() -> None:
    with desk(Fault(FaultKind.ORDER_SILENCE, args={"reaches": True})) as d:
        d.live()
        d.submit(limit_ticks=450)
        d.until(lambda: d.of(broker.OrderSent))
        d.query()
        d.until(lambda: d.of(orders.OrderFound))
        assert d.of(orders.OrderFound)[0].is_working


def test_rejected_order_is_told_once_with_its_code() -> None:
    with desk(Fault(FaultKind.ORDER_REJECTED)) as d:
        d.live()
        d.submit()
        d.until(lambda: d.of(orders.OrderRejected))
        d.query()
        d.until(lambda: d.of(orders.OrderFound) or d.of(orders.OrderNotFound))
        assert [r.vendor_code for r in d.of(orders.OrderRejected)] == [201]
