"""Reconciliation: the broker's truth against a desk's ledger, in one transaction."""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from domain.instruments import Side
from messages import orders, session
from messages.base import Message
from storage import fills
from storage.desk_restore import CONTRACT_COLUMNS, contract_of
from storage.reservations import LIVE


def reconcile(db: sqlite3.Connection, asked: session.Reconcile, desk: str, run_n: int, now: int) -> tuple[Message, ...]:
    """Adopt what is ours, name what is not; the fills come first and `Reconciled` last.

    Executions are adopted before positions are compared, so that a fill of the same read does not look foreign.
    """
    read = asked.read
    facts, adopted_n, mismatches = _adopt(db, read, desk, run_n, now)
    for order in read.orders:
        db.execute(
            "UPDATE orders SET perm_id = ?, status = ?, changed_utc = ? WHERE order_ref = ?",
            (order.perm_id, order.status, now, order.order_ref),
        )
    prefix = fills.own_prefix(desk)
    own = [order for order in read.orders if order.order_ref.startswith(prefix)]
    foreign_orders = tuple(
        order.order_ref or f"perm:{order.perm_id}"
        for order in read.orders
        if order.is_working and not order.order_ref.startswith(prefix)
    )
    foreign, differing = _compare_positions(db, read, own)
    reconciled = session.Reconciled(
        session_epoch=asked.session_epoch,
        adopted_fills=adopted_n,
        cancel_refs=tuple(order.order_ref for order in own if order.is_working and _is_unwanted(db, order, run_n)),
        foreign_positions=foreign,
        foreign_orders=foreign_orders,
        unverified=_unverified(db, read),
        mismatches=(*mismatches, *_short_counts(db, own), *differing),
    )
    return (*facts, reconciled)


def _adopt(
    db: sqlite3.Connection, read: session.BrokerRead, desk: str, run_n: int, now: int
) -> tuple[tuple[Message, ...], int, tuple[str, ...]]:
    facts: list[Message] = []
    strangers: list[str] = []
    adopted_n = 0
    for execution in sorted(read.executions, key=lambda e: (e.at_utc, e.exec_id, e.revision)):
        is_new, told = fills.record_execution(db, execution, desk, run_n, now)
        facts.extend(told)
        if any(isinstance(fact, orders.FillRecorded) for fact in told):
            adopted_n += 1
        elif is_new and told:
            strangers.append(
                f"Execution {execution.exec_id} of {execution.order_ref or 'no reference'} belongs to no order of ours."
            )
    return tuple(facts), adopted_n, tuple(strangers)


def _is_unwanted(db: sqlite3.Connection, order: session.BrokerOrder, run_n: int) -> bool:
    """Tell whether an own working order has to go: its holder is gone, or it is an entry of an earlier run."""
    holder = db.execute(
        f"SELECT r.run_n, o.is_exit FROM orders o JOIN reservations r USING (intent_id, leg)"
        f" WHERE o.order_ref = ? AND r.{LIVE}",
        (order.order_ref,),
    ).fetchone()
    if holder is None and fills.is_exit_ref(order.order_ref):  # an exit that went out without its record
        held = db.execute(f"SELECT 1 FROM reservations WHERE con_id = ? AND {LIVE}", (order.con_id,)).fetchone()
        return held is None
    return holder is None or (not holder[1] and holder[0] < run_n)


def _compare_positions(
    db: sqlite3.Connection, read: session.BrokerRead, own: list[session.BrokerOrder]
) -> tuple[tuple[session.BrokerPosition, ...], tuple[str, ...]]:
    """Find positions that our executions do not explain, nor an own order that may be filling right now."""
    below: defaultdict[int, int] = defaultdict(int)
    above: defaultdict[int, int] = defaultdict(int)
    for order in own:
        expected = order.qty if order.is_working else order.filled_qty
        pending = max(0, expected - fills.totals_of(db, order.order_ref)[0])
        (above if order.side is Side.BUY else below)[order.con_id] += pending
    foreign: list[session.BrokerPosition] = []
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


def _short_counts(db: sqlite3.Connection, own: list[session.BrokerOrder]) -> tuple[str, ...]:
    found = ((order, fills.totals_of(db, order.order_ref)[0]) for order in own)
    return tuple(
        f"Order {order.order_ref} is filled {order.filled_qty} at the broker, {qty} in our executions."
        for order, qty in found
        if order.filled_qty != qty
    )


def _unverified(db: sqlite3.Connection, read: session.BrokerRead) -> tuple[session.Unverified, ...]:
    known = {order.order_ref for order in read.orders} | {execution.order_ref for execution in read.executions}
    rows = db.execute(
        f"SELECT intent_id, order_ref, deadline_utc, {CONTRACT_COLUMNS} FROM reservations"
        " WHERE state = 'PENDING_ENTRY' ORDER BY reserved_utc, intent_id, leg"
    ).fetchall()
    return tuple(
        session.Unverified(intent_id=row[0], order_ref=row[1], deadline_utc=row[2], contract=contract_of(row[3:]))
        for row in rows
        if row[1] not in known
    )
