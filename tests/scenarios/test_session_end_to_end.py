"""The actor with its port on a real socket to the simulated gateway; a small ledger stands in for the desk's."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors.ibkr.actor import IbkrActor
from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.session.modes import Mode
from gateways.ib.orders_port import OrdersPort
from messages import orders as m
from messages import session as s
from messages.base import Message
from messages.lifecycle import Started, TimerFired
from messages.positions import BrokerPositionRead, ExitHeld
from simulation.gateway.faults import Fault, FaultKind
from supervision.effects import SetTimer, Tell
from tests.testkit.ibkr_world import World, gateway, make_port, settings_for

QUICK = {
    "warm_up_ms": 50, "heartbeat_every_ms": 50, "heartbeat_max_ms": 200, "retry_fast_ms": 20, "query_wait_ms": 300,
    "abandon_wait_ms": 200,
}  # fmt: skip
ENTRY, EXIT = "ZH-paper-aaaaaaaaaaaa-e", "ZH-paper-aaaaaaaaaaaa-x1"


class Desk:
    """Runs one actor in the test's thread: its mail, its timers, and a ledger that adopts every execution once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.actor = IbkrActor("ibkr:paper", settings_for(world.port, **QUICK))
        self.state = self.actor.initial()
        self.mail: queue.Queue[Message] = queue.Queue()
        self.timers: dict[str, int] = {}
        self.told: list[Tell] = []
        self.executions: dict[str, int] = {}
        self.recorded_n = 0
        self.port: OrdersPort = make_port(OrdersPort, world, lambda _to, message: self.mail.put(message), **QUICK)
        self.mail.put(Started(name="ibkr:paper", incarnation=1, run_n=1))

    def until(self, is_reached: Callable[[], object], timeout_s: float = 8.0) -> None:
        """Handle mail and timers until something holds."""
        deadline_s = time.monotonic() + timeout_s
        while not is_reached():
            assert time.monotonic() < deadline_s, f"mode {self.state.mode}; told {[t.message for t in self.told[-8:]]}"
            key = min(self.timers, key=lambda k: self.timers[k], default=None)
            wait_s = (self.timers[key] - self.world.clock.now_utc()) / SECOND if key is not None else 1.0
            try:
                self._handle(self.mail.get(timeout=max(wait_s, 0.0) or 0.0001))
            except queue.Empty:
                if key is not None and self.timers[key] <= self.world.clock.now_utc():
                    self._handle(TimerFired(key=key, due_utc=self.timers.pop(key)))

    def _handle(self, message: Message) -> None:
        self.state, effects = self.actor.decide(self.state, message, self.world.clock.now_utc())
        for effect in effects:
            match effect:
                case Tell(to="port:ibkr:paper"):
                    self.port.post(effect.message)
                case Tell(to="desk_ledger"):
                    self._ledger(effect.message)
                case Tell():
                    self.told.append(effect)
                case SetTimer(key=key, at_utc=at_utc):
                    self.timers[key] = at_utc
                case _:
                    self.timers.pop(effect.key, None)

    def _ledger(self, message: Message) -> None:
        match message:
            case m.RecordExecution():
                self._record(message.exec_id, message.qty)
            case s.Reconcile():
                for execution in message.read.executions:
                    self._record(execution.exec_id, execution.qty)
                nothing: dict[str, tuple[()]] = dict.fromkeys(
                    ("cancel_refs", "foreign_positions", "foreign_orders", "unverified", "mismatches"), ()
                )
                self.mail.put(s.Reconciled(session_epoch=message.session_epoch, adopted_fills=0, **nothing))

    def _record(self, exec_id: str, qty: int) -> None:
        self.recorded_n += exec_id not in self.executions
        self.executions[exec_id] = qty

    def of(self, kind: type) -> list[Message]:
        return [t.message for t in self.told if isinstance(t.message, kind)]

    def live(self) -> None:
        self.until(lambda: self.state.mode is Mode.FULLY_LIVE)

    def submit(self, ref: str = ENTRY, side: Side = Side.BUY, limit_ticks: int = 510, held: int = 0) -> None:
        now = self.world.clock.now_utc()
        permit = m.Permit(kill_epoch=0, session_epoch=self.state.session_epoch, expires_utc=now + 2 * SECOND)
        is_exit = side is Side.SELL
        self.mail.put(
            m.SubmitOrder(
                order_ref=ref, reply_to="position:paper:1007", contract=self.world.call, side=side, qty=2,
                order_type=OrderType.LIMIT, limit_ticks=limit_ticks, is_exit=is_exit, held_qty=held,
                permit=None if is_exit else permit, deadline_utc=now + 10 * SECOND,
            )
        )  # fmt: skip


@contextmanager
def desk(*faults: Fault) -> Iterator[Desk]:
    with gateway(*faults) as world:
        it = Desk(world)
        try:
            yield it
        finally:
            it.port.close()


def test_from_dial_to_live_to_a_round_trip_that_the_broker_agrees_with() -> None:
    with desk() as d:
        d.live()
        d.submit()
        d.until(lambda: d.executions and d.of(m.OrderClosed))
        d.until(lambda: d.state.position(d.world.call.con_id) == 2)
        d.submit(EXIT, Side.SELL, 500, held=2)
        d.until(lambda: len(d.of(m.OrderClosed)) == 2)
        d.until(lambda: [p for p in d.of(BrokerPositionRead) if p.qty == 0])  # type: ignore[attr-defined]
        assert list(d.executions.values()) == [2, 2]


def test_drop_of_the_gateway_finds_the_fill_of_the_outage_once_and_comes_back_live() -> None:
    with desk() as d:
        d.live()
        d.submit(limit_ticks=450)
        d.until(lambda: d.of(m.OrderAcknowledged))
        d.world.inject(Fault(FaultKind.DROP_REFUSE, duration_s=0.3))
        d.until(lambda: d.state.mode is Mode.DEGRADED)
        d.world.do(lambda: d.world.market.set(d.world.market.call, 440, 450))
        d.live()
        assert d.recorded_n == 1
        assert [c.filled_qty_total for c in d.of(m.OrderClosed)] == [2]  # type: ignore[attr-defined]
        assert d.world.do(lambda: d.world.exchange.book.position(d.world.call.con_id).qty) == 2


def test_half_open_link_is_given_up_and_the_order_of_the_dead_socket_is_found_whatever_became_of_it() -> None:
    with desk() as d:
        d.live()
        d.world.inject(Fault(FaultKind.DROP_HALF_OPEN, duration_s=0.6))
        d.submit()
        d.until(lambda: d.state.mode is Mode.DEGRADED)
        d.live()
        d.mail.put(m.QueryOrder(order_ref=ENTRY, reply_to="position:paper:1007"))
        d.until(lambda: d.of(m.OrderFound) or d.of(m.OrderNotFound))
        held = d.world.do(lambda: d.world.exchange.book.position(d.world.call.con_id).qty)
        assert sum(d.executions.values()) == held


def test_1100_then_1102_reads_back_the_fill_that_was_never_told() -> None:
    with desk() as d:
        d.live()
        d.submit(limit_ticks=450)
        d.until(lambda: d.of(m.OrderAcknowledged))
        d.world.inject(Fault(FaultKind.LINK_LOST, duration_s=0.3, args={"repeat": 3}))
        d.until(lambda: d.state.mode is Mode.DEGRADED)
        d.world.do(lambda: d.world.market.set(d.world.market.call, 440, 450))
        d.submit(EXIT, Side.SELL, 400, held=2)
        d.until(lambda: d.of(ExitHeld))
        d.live()
        assert d.recorded_n == 1
        assert len(d.of(s.ModeChanged)) > 5


def test_modify_that_meets_a_fill_closes_the_order_filled_and_never_cancelled() -> None:
    for kind in (FaultKind.MODIFY_104_THEN_FILL, FaultKind.MODIFY_104_EXECUTION_ONLY, FaultKind.MODIFY_FILL_THEN_104):
        with desk(Fault(kind)) as d:
            d.live()
            d.submit(limit_ticks=450)
            d.until(lambda d=d: d.of(m.OrderAcknowledged))
            now = d.world.clock.now_utc()
            permit = m.Permit(kill_epoch=0, session_epoch=d.state.session_epoch, expires_utc=now + SECOND)
            d.mail.put(
                m.ModifyOrder(
                    order_ref=ENTRY, reply_to="position:paper:1007", qty=2, order_type=OrderType.LIMIT,
                    limit_ticks=460, is_exit=False, permit=permit, deadline_utc=now + SECOND,
                )
            )  # fmt: skip
            d.until(lambda d=d: d.of(m.OrderClosed) and d.recorded_n)
            assert [(c.cause, c.filled_qty_total) for c in d.of(m.OrderClosed)] == [("filled", 2)]  # type: ignore[attr-defined]
            assert sum(d.executions.values()) == 2


def test_silent_gateway_is_asked_and_says_that_the_order_lives() -> None:
    with desk(Fault(FaultKind.ORDER_SILENCE, args={"reaches": True})) as d:
        d.live()
        d.submit(limit_ticks=450)
        d.until(lambda: d.of(m.OrderSent))
        d.mail.put(m.QueryOrder(order_ref=ENTRY, reply_to="position:paper:1007"))
        d.until(lambda: d.of(m.OrderFound))
        assert d.of(m.OrderFound)[0].is_working  # type: ignore[attr-defined]


def test_rejected_order_is_told_once_with_its_code() -> None:
    with desk(Fault(FaultKind.ORDER_REJECTED)) as d:
        d.live()
        d.submit()
        d.until(lambda: d.of(m.OrderRejected))
        d.mail.put(m.QueryOrder(order_ref=ENTRY, reply_to="position:paper:1007"))
        d.until(lambda: d.of(m.OrderFound) or d.of(m.OrderNotFound))
        assert [r.vendor_code for r in d.of(m.OrderRejected)] == [201]  # type: ignore[attr-defined]
