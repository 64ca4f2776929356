"""What the broker tells without our reference is known by the broker's own number."""

from __future__ import annotations

import msgspec

from domain.instruments import Side
from domain.orders.table import OrderStage
from messages import broker, orders, session
from messages.restored import IbkrRestored, OwnOrder
from tests.testkit.ibkr_history import ENTRY, History, broker_fill, broker_order

PERM_ID = 900  # of the order in these histories
NAMELESS = msgspec.structs.replace(broker_order(ENTRY), order_ref="", perm_id=PERM_ID)
OWN_ENTRY = IbkrRestored(orders=(OwnOrder(order_ref=ENTRY, con_id=7, is_exit=False, side=Side.BUY, qty=2),))


def working() -> History:
    h = History().live().working()
    assert h.order(ENTRY).perm_id == PERM_ID
    return h


def test_a_working_order_that_is_read_without_its_reference_is_ours() -> None:
    h = working()
    h.lost()
    h.back()
    asked = h.broker_read(NAMELESS).told(session.Reconcile)[0]
    assert [order.order_ref for order in asked.read.orders] == [ENTRY]
    h.reconciled()
    assert h.order(ENTRY).stage is OrderStage.WORKING


def test_a_number_that_is_none_of_ours_stays_without_a_reference() -> None:
    h = working()
    h.lost()
    h.back()
    stranger = msgspec.structs.replace(NAMELESS, perm_id=PERM_ID + 1)
    asked = h.broker_read(stranger).told(session.Reconcile)[0]
    assert asked.read.orders == (stranger,)


def test_an_execution_without_its_reference_is_recorded_and_counts() -> None:
    h = working()
    told = h.fill("", 2)
    assert [recorded.execution.order_ref for recorded in told.told(orders.RecordExecution)] == [ENTRY]
    assert h.order(ENTRY).filled_qty == 2
    assert not told.told(broker.ReadBack)


def test_executions_that_are_read_without_their_reference_are_ours() -> None:
    h = working()
    h.lost()
    h.back()
    told = h.broker_read(executions=(broker_fill("", 2),))
    assert [e.order_ref for e in told.told(session.Reconcile)[0].read.executions] == [ENTRY]
    h.reconciled()
    assert h.order(ENTRY).filled_qty == 2


def test_after_a_restart_the_ledger_says_whose_number_it_is() -> None:
    h = History().start(OWN_ENTRY)
    h.up()
    h.broker_read(NAMELESS)
    h.reconciled(named=((PERM_ID, ENTRY),))
    assert (h.order(ENTRY).stage, h.order(ENTRY).perm_id) == (OrderStage.WORKING, PERM_ID)
