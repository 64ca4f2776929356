"""What the broker says twice or in another order, and what a second desk does at the same gateway, over real sockets.

The order session's actor with its real port and a real ledger file; nobody may buy, sell or book anything twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from domain.alarm import Severity
from domain.instruments import Side
from domain.risk.kill import KillLevel
from domain.session.modes import Mode
from messages import broker, operator, orders, risk, session
from messages.base import Message
from simulation.gateway.faults import Fault, FaultKind
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from tests.scenarios.test_session_end_to_end import Desk
from tests.testkit import ledger_asks as ask
from tests.testkit.ibkr_world import World, gateway
from tests.testkit.probe import Outbox

TO_LEDGER = (
    orders.RecordExecution, orders.RecordCommission, orders.RecordOrderIds, orders.BrokerRefused, session.Reconcile
)  # fmt: skip
TO_SESSION = (session.Reconciled, orders.ExecutionRecorded)
DOUBLED = Fault(FaultKind.CALLBACKS_DUPLICATED)
STATUS_FIRST = Fault(FaultKind.CALLBACKS_REORDERED, args={"first": "status"})
FEE_FIRST = Fault(FaultKind.CALLBACKS_REORDERED, args={"first": "commission"})
IN_PARTS = Fault(FaultKind.PARTIAL_FILLS, args={"pieces": [1, 1]})


class LedgerDesk(Desk):
    """A desk whose ledger is a real file in a folder of its own."""

    def __init__(self, world: World, folder: Path) -> None:
        folder.mkdir()
        self.ledger = DeskLedger(folder, "paper", run_n=1, is_durable=False)
        self.ledger.open()
        self.reader = LedgerReader(folder, "paper")
        self.told: list[Message] = []
        super().__init__(world)

    def _carry_out(self, outbox: Outbox) -> None:
        mine = [message for message in outbox.messages if isinstance(message, TO_LEDGER)]
        super()._carry_out(Outbox([effect for effect in outbox.effects if not _is_for_ledger(effect)]))
        for message in mine:
            for fact in self.ledger.apply(message, self.world.clock.now_utc()):
                self.told.append(fact)
                if isinstance(fact, TO_SESSION):
                    self.mail.put(fact)

    def reserve(self) -> str:
        """Reserve an entry of the world's call; return the reference of its order."""
        self.ledger.apply(ask.reserve(1, self.world.call.con_id), ask.T0)
        return ask.ref(1)

    def trade(self, ref: str, side: Side, limit_ticks: int, held: int, total: int) -> None:
        """Send an order and wait until the ledger has all of its fills and fees, and the order is over."""
        self.submit(ref, side, limit_ticks, held=held)
        self.until(lambda: self.filled(ref) == total and self.charged(ref) == total and self.closed(ref))

    def filled(self, ref: str) -> int:
        found = [f.filled_qty_total for f in self.told if isinstance(f, orders.FillRecorded) and f.order_ref == ref]
        return max(found, default=0)

    def charged(self, ref: str) -> int:
        return max(
            (f.charged_qty_total for f in self.told if isinstance(f, orders.CommissionRecorded) and f.order_ref == ref),
            default=0,
        )

    def closed(self, ref: str) -> list[orders.OrderClosed]:
        return [closed for closed in self.of(orders.OrderClosed) if closed.order_ref == ref]

    def at_broker(self) -> int:
        world = self.world
        return int(world.do(lambda: world.exchange.position(world.call.con_id).qty))

    def close(self) -> None:
        self.port.close()
        self.ledger.close()


def _is_for_ledger(effect: object) -> bool:
    return isinstance(getattr(effect, "message", None), TO_LEDGER)


@contextmanager
def at_gateway(folder: Path, *faults: Fault) -> Iterator[LedgerDesk]:
    with gateway(*faults) as world:
        it = LedgerDesk(world, folder)
        try:
            yield it
        finally:
            it.close()


@pytest.mark.parametrize("entry", [DOUBLED, STATUS_FIRST, FEE_FIRST, IN_PARTS], ids=lambda fault: str(fault.kind))
@pytest.mark.parametrize("leaving", [DOUBLED, STATUS_FIRST, FEE_FIRST], ids=lambda fault: str(fault.kind))
def test_round_trip_is_booked_once_whatever_comes_twice_or_in_another_order(
    tmp_path: Path, entry: Fault, leaving: Fault
) -> None:
    with at_gateway(tmp_path / "a", entry, leaving) as d:
        d.live()
        ref = d.reserve()
        d.trade(ref, Side.BUY, 510, held=0, total=2)
        d.until(lambda: d.state.position(d.world.call.con_id) == 2)
        exit_ref = ask.ref(1, "x1")
        d.ledger.apply(ask.exit_intent(1, con_id=d.world.call.con_id), ask.T0)
        d.trade(exit_ref, Side.SELL, 500, held=2, total=2)
        d.until(lambda: d.state.position(d.world.call.con_id) == 0)
        assert [len(d.closed(one)) for one in (ref, exit_ref)] == [1, 1]
        assert d.of(risk.RaiseKill) == []
        assert [fact for fact in d.told if isinstance(fact, risk.RaiseKill)] == []
        assert d.at_broker() == 0
        d.mail.put(session.RequestReconcile(why="test"))
        before = len([fact for fact in d.told if isinstance(fact, session.Reconciled)])
        d.until(lambda: len([fact for fact in d.told if isinstance(fact, session.Reconciled)]) > before)
        (*_, compared) = [fact for fact in d.told if isinstance(fact, session.Reconciled)]
        assert (compared.mismatches, compared.foreign_positions, compared.foreign_orders) == ((), (), ())
        assert d.world.do(lambda: len(d.world.exchange.executions())) == len(d.reader.execution_ids())


# -- a second desk at the same gateway ------------------------------------------------------------


def test_second_desk_with_the_client_id_of_the_first_never_gets_in_and_says_why(tmp_path: Path) -> None:
    with at_gateway(tmp_path / "a") as first:
        first.live()
        second = LedgerDesk(first.world, tmp_path / "b")
        try:
            second.until(lambda: [a for a in second.of(operator.Alarm) if "client id" in a.text])
            (alarm, *_) = [a for a in second.of(operator.Alarm) if "client id" in a.text]
            assert alarm.severity is Severity.WARNING
            assert "a second supervisor" in alarm.text and "broker.client_ids" in alarm.text
            assert second.state.mode is Mode.DATA_ONLY
            first.trade(first.reserve(), Side.BUY, 510, held=0, total=2)  # it is not disturbed
            assert first.state.mode is Mode.FULLY_LIVE
            assert second.of(broker.PlaceOrder) == []
        finally:
            second.close()


@pytest.mark.parametrize("is_exit_at_work", [False, True])
def test_second_desk_that_gets_in_touches_nothing_of_what_the_first_holds(
    tmp_path: Path, *, is_exit_at_work: bool
) -> None:
    """The first has gone, with a position, and an exit at work; the second has a data folder of its own."""
    with at_gateway(tmp_path / "a") as first:
        first.live()
        first.trade(first.reserve(), Side.BUY, 510, held=0, total=2)
        if is_exit_at_work:
            first.until(lambda: first.state.position(first.world.call.con_id) == 2)  # before that the sale is refused
            first.ledger.apply(ask.exit_intent(1, con_id=first.world.call.con_id), ask.T0)
            first.submit(ask.ref(1, "x1"), Side.SELL, 900, held=2)
            first.until(lambda: [a for a in first.of(orders.OrderAcknowledged) if a.order_ref.endswith("x1")])
        first.port.close()
        second = LedgerDesk(first.world, tmp_path / "b")
        try:
            second.until(lambda: second.of(risk.RaiseKill))
            raised = second.of(risk.RaiseKill)[0]
            assert (raised.level, "is not ours" in raised.reason) == (KillLevel.NO_ENTRIES, True)
            assert "position" in raised.reason
            assert is_exit_at_work == (f"order {ask.ref(1, 'x1')}" in raised.reason)
            second.until(lambda: second.state.is_reconciled)
            assert (second.of(broker.PlaceOrder), second.of(broker.WithdrawOrder)) == ([], [])
            assert second.at_broker() == 2
            works = first.world.do(first.world.exchange.open_orders)
            assert [state.order.order_ref for state in works] == [ask.ref(1, "x1")] * is_exit_at_work
        finally:
            second.close()


def test_stale_entry_of_another_life_is_cancelled_by_whoever_gets_in(tmp_path: Path) -> None:
    with at_gateway(tmp_path / "a") as first:
        first.live()
        first.submit(first.reserve(), limit_ticks=400)
        first.until(lambda: first.of(orders.OrderAcknowledged))
        first.port.close()
        second = LedgerDesk(first.world, tmp_path / "b")
        try:
            second.until(lambda: second.of(broker.WithdrawOrder))
            second.until(lambda: first.world.do(first.world.exchange.open_orders) == [])
            assert second.at_broker() == 0
        finally:
            second.close()
