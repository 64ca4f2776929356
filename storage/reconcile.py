"""Reconciliation: the broker's truth against a desk's ledger, in one transaction."""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from domain.instruments import Side
from domain.orders.references import is_exit_ref, is_of_desk
from domain.units import Utc
from messages import orders, session
from messages.broker import BrokerOrder, BrokerPosition, BrokerRead
from storage import fills, rows
from storage.desk_restore import RESERVATION_COLUMNS, ReservationRow
from storage.ledger_schema import LIVE


def reconcile(
    db: sqlite3.Connection, message: session.Reconcile, desk: str, run_n: int, now: Utc
) -> tuple[fills.Fact | session.Reconciled, ...]:
    """Adopt what is ours, name what is not; return the fills first and `Reconciled` last.

    What was recorded since the broker was read counts as adopted: it may be this message's own first delivery, whose
    answer was lost after its COMMIT. Executions are adopted before positions are compared, so that a fill of the same
    read does not look foreign.
    """
    read = message.read
    facts, adopted_n, mismatches = _adopt(db, read, desk, run_n, now)
    for order in read.orders:
        db.execute(
            "UPDATE orders SET perm_id = ?, status = ?, changed_utc = ? WHERE order_ref = ?",
            (order.perm_id, order.status.value, now, order.order_ref),
        )
    own = [order for order in read.orders if is_of_desk(order.order_ref, desk)]
    foreign_orders = tuple(
        order.order_ref or f"perm:{order.perm_id}"
        for order in read.orders
        if order.is_working and not is_of_desk(order.order_ref, desk)
    )
    foreign, differing = _compare_positions(db, read, own)
    reconciled = session.Reconciled(
        session_epoch=message.session_epoch,
        adopted_fills=adopted_n,
        cancel_refs=tuple(order.order_ref for order in own if order.is_working and _is_unwanted(db, order, run_n)),
        foreign_positions=foreign,
        foreign_orders=foreign_orders,
        unverified=_unverified(db, read),
        mismatches=(*mismatches, *_short_counts(db, own), *differing),
    )
    return (*facts, reconciled)


def _adopt(
    db: sqlite3.Connection, read: BrokerRead, desk: str, run_n: int, now: Utc
) -> tuple[tuple[fills.Fact, ...], int, tuple[str, ...]]:
    facts: list[fills.Fact] = []
    strangers: list[str] = []
    adopted_n = 0
    for execution in sorted(read.executions, key=lambda e: (e.at_utc, e.exec_id, e.revision)):
        if fills.is_recorded_before(db, execution, read.read_utc):
            continue
        told = fills.record_execution(db, execution, desk, run_n, now)
        facts.extend(told)
        if any(isinstance(fact, orders.FillRecorded) for fact in told):
            adopted_n += 1
        elif fills.is_foreign(db, execution):
            strangers.append(
                f"Execution {execution.exec_id} of {execution.order_ref or 'no reference'} belongs to no order of ours."
            )
    return tuple(facts), adopted_n, tuple(strangers)


class _Holder(rows.Row, frozen=True):
    """Whose order it is: the run that reserved it, and whether the order is an exit."""

    run_n: int
    is_exit: bool


def _is_unwanted(db: sqlite3.Connection, order: BrokerOrder, run_n: int) -> bool:
    """Return whether an own working order has to go: its holder is gone, or it is an entry of an earlier run."""
    holder = rows.first_row(
        db,
        _Holder,
        f"SELECT r.run_n, o.is_exit FROM orders o JOIN reservations r USING (intent_id, leg)"
        f" WHERE o.order_ref = ? AND r.{LIVE}",
        (order.order_ref,),
    )
    if holder is not None:
        return not holder.is_exit and holder.run_n < run_n
    if is_exit_ref(order.order_ref):  # an exit that went out without its record
        return not rows.exists(db, f"SELECT 1 FROM reservations WHERE con_id = ? AND {LIVE}", (order.con_id,))
    return True


def _compare_positions(
    db: sqlite3.Connection, read: BrokerRead, own: list[BrokerOrder]
) -> tuple[tuple[BrokerPosition, ...], tuple[str, ...]]:
    """Find positions that our executions do not explain, nor an own order that may be filling right now."""
    below: defaultdict[int, int] = defaultdict(int)
    above: defaultdict[int, int] = defaultdict(int)
    for order in own:
        expected = order.qty if order.is_working else order.filled_qty
        pending = max(0, expected - fills.totals_of(db, order.order_ref)[0])
        (above if order.side is Side.BUY else below)[order.con_id] += pending
    foreign: list[BrokerPosition] = []
    differing: list[str] = []
    held = {position.contract.con_id: position for position in read.positions if position.qty}
    for con_id, position in held.items():
        net = fills.net_of_contract(db, con_id)
        if net == position.qty:
            continue
        label = position.contract.label
        differing.append(f"The broker holds {position.qty} of {label}, our executions make {net}.")
        if not net - below[con_id] <= position.qty <= net + above[con_id]:
            foreign.append(position)
    for (con_id,) in db.execute(f"SELECT con_id FROM reservations WHERE {LIVE} ORDER BY con_id").fetchall():
        net = fills.net_of_contract(db, con_id)
        if net and con_id not in held:
            differing.append(f"The broker holds none of contract {con_id}, our executions make {net}.")
    return tuple(foreign), tuple(differing)


def _short_counts(db: sqlite3.Connection, own: list[BrokerOrder]) -> tuple[str, ...]:
    found = ((order, fills.totals_of(db, order.order_ref)[0]) for order in own)
    return tuple(
        f"Order {order.order_ref} is filled {order.filled_qty} at the broker, {qty} in our executions."
        for order, qty in found
        if order.filled_qty != qty
    )


def _unverified(db: sqlite3.Connection, read: BrokerRead) -> tuple[session.Unverified, ...]:
    known = {order.order_ref for order in read.orders} | {execution.order_ref for execution in read.executions}
    found = rows.all_rows(
        db, ReservationRow,
        f"SELECT {RESERVATION_COLUMNS} FROM reservations WHERE state = 'PENDING_ENTRY'"
        " ORDER BY reserved_utc, intent_id, leg",
    )  # fmt: skip
    return tuple(
        session.Unverified(
            intent_id=row.intent_id, order_ref=row.order_ref, contract=row.contract, deadline_utc=row.deadline_utc
        )
        for row in found
        if row.order_ref not in known
    )
