"""Executions and fees in a desk's ledger: each execution once, its highest revision in force, totals over those."""

from __future__ import annotations

import sqlite3

from domain.instants import session_of
from domain.orders.references import is_exit_ref, is_of_desk
from domain.risk.kill import KillLevel
from domain.units import Cents, Qty, Utc
from messages import orders, risk
from messages.broker import Execution
from storage import rows
from storage.ledger_schema import LIVE

Fact = orders.FillRecorded | orders.CommissionRecorded | risk.RaiseKill

_REOPEN = "UPDATE reservations SET state = 'OPEN', ended_why = NULL, ended_utc = NULL WHERE intent_id = ? AND leg = ?"


class _Owner(rows.Row, frozen=True):
    """The reserved leg that an order belongs to."""

    intent_id: str
    leg: int


def record_execution(
    db: sqlite3.Connection, execution: Execution, desk: str, run_n: int, now: Utc
) -> tuple[bool, tuple[Fact, ...]]:
    """Keep one execution inside the caller's transaction; return whether it was new, and what is to be told.

    Nothing is told of a repeat, nor of a revision below the one in force. An execution of an order that we do not
    know is kept as foreign.
    """
    (highest,) = db.execute("SELECT max(revision) FROM executions WHERE exec_id = ?", (execution.exec_id,)).fetchone()
    if highest is not None and _is_known(db, execution):
        return False, ()
    is_current = highest is None or execution.revision > highest
    if is_current:
        db.execute("UPDATE executions SET is_current = 0 WHERE exec_id = ? AND is_current", (execution.exec_id,))
    owner = _owner_of(db, execution, desk, run_n, now)
    db.execute(
        "INSERT INTO executions (exec_id, revision, desk, order_ref, intent_id, con_id, side, qty, price_ticks, at_utc,"
        " session, is_current, is_foreign, raw, recorded_utc) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            execution.exec_id, execution.revision, desk, execution.order_ref, owner and owner.intent_id,
            execution.con_id, execution.side.value, execution.qty, execution.price_ticks, execution.at_utc,
            session_of(execution.at_utc).isoformat(), is_current, owner is None, execution.raw, now,
        ),
    )  # fmt: skip
    if not is_current:
        return True, ()
    if owner is None:
        why = f"Execution {execution.exec_id} of contract {execution.con_id} belongs to no order of {desk}."
        return True, (_no_entries(why, desk),)
    facts: tuple[Fact, ...] = (_fill(db, execution), *_reopen(db, owner, execution.con_id, desk))
    # A fee may come before its execution.
    if rows.exists(db, "SELECT 1 FROM commissions WHERE exec_id = ?", (execution.exec_id,)):
        facts += (_commission(db, execution.order_ref, execution.con_id),)
    return True, facts


def record_commission(db: sqlite3.Connection, fee: orders.RecordCommission, now: Utc) -> tuple[Fact, ...]:
    """Keep one fee; it is told where its execution is known and ours, else when that arrives."""
    written = db.execute(
        "INSERT INTO commissions (exec_id, revision, commission_cents, recorded_utc) VALUES (?,?,?,?)"
        " ON CONFLICT DO NOTHING",
        (fee.exec_id, fee.revision, fee.commission_cents, now),
    )
    if written.rowcount == 0:
        return ()
    row = db.execute(
        "SELECT order_ref, con_id FROM executions WHERE exec_id = ? AND is_current AND NOT is_foreign", (fee.exec_id,)
    ).fetchone()
    if row is None:
        return ()
    order_ref, con_id = str(row[0]), int(row[1])
    _add_to_closed(db, order_ref)
    return (_commission(db, order_ref, con_id),)


_FEES = (
    "SELECT e.qty, (SELECT commission_cents FROM commissions c WHERE c.exec_id = e.exec_id"
    " ORDER BY c.revision DESC LIMIT 1) AS cents FROM executions e WHERE e.is_current AND"
)


def fees_of(db: sqlite3.Connection, order_ref: str) -> tuple[Cents, Qty]:
    """Return the fees of an order (the highest revision of each execution's), and the contracts that they are for."""
    cents, qty = db.execute(
        f"SELECT ifnull(sum(cents), 0), ifnull(sum(qty), 0) FROM ({_FEES} e.order_ref = ?) WHERE cents IS NOT NULL",
        (order_ref,),
    ).fetchone()
    return Cents(cents), Qty(qty)


def _add_to_closed(db: sqlite3.Connection, order_ref: str) -> None:
    """Bring a closed position's result in line with a fee that came after it had closed."""
    db.execute(
        "UPDATE positions SET realised_cents = realised_cents + fees_cents - late.cents, fees_cents = late.cents FROM"
        f" (SELECT sum(cents) AS cents FROM ({_FEES} (e.intent_id, e.con_id) ="
        " (SELECT intent_id, con_id FROM orders WHERE order_ref = ?))) AS late WHERE closed_utc IS NOT NULL"
        " AND (intent_id, con_id) = (SELECT intent_id, con_id FROM orders WHERE order_ref = ?)",
        (order_ref, order_ref),
    )


def totals_of(db: sqlite3.Connection, order_ref: str) -> tuple[Qty, int]:
    """Return an order's filled quantity, and its cost in ticks times contracts."""
    qty, cost_ticks = db.execute(
        "SELECT ifnull(sum(qty), 0), ifnull(sum(qty * price_ticks), 0) FROM executions"
        " WHERE order_ref = ? AND is_current",
        (order_ref,),
    ).fetchone()
    return Qty(qty), int(cost_ticks)


def net_of_contract(db: sqlite3.Connection, con_id: int) -> Qty:
    """Return the signed quantity that all our executions hold of a contract."""
    return _net(db, "con_id = ? AND NOT is_foreign", (con_id,))


def _net(db: sqlite3.Connection, where: str, values: rows.Values) -> Qty:
    sql = "SELECT ifnull(sum(iif(side = 'BUY', qty, -qty)), 0) FROM executions WHERE is_current AND"
    return Qty(rows.number(db, f"{sql} {where}", values))


def _is_known(db: sqlite3.Connection, execution: Execution) -> bool:
    key = (execution.exec_id, execution.revision)
    return rows.exists(db, "SELECT 1 FROM executions WHERE exec_id = ? AND revision = ?", key)


def _fill(db: sqlite3.Connection, execution: Execution) -> orders.FillRecorded:
    qty, cost_ticks = totals_of(db, execution.order_ref)
    return orders.FillRecorded(
        order_ref=execution.order_ref, con_id=execution.con_id, side=execution.side, exec_id=execution.exec_id,
        revision=execution.revision, qty=execution.qty, price_ticks=execution.price_ticks, at_utc=execution.at_utc,
        filled_qty_total=qty, filled_cost_ticks_total=cost_ticks,
    )  # fmt: skip


def _commission(db: sqlite3.Connection, order_ref: str, con_id: int) -> orders.CommissionRecorded:
    cents, qty = fees_of(db, order_ref)
    return orders.CommissionRecorded(
        order_ref=order_ref, con_id=con_id, commission_cents_total=cents, charged_qty_total=qty
    )


def _owner_of(db: sqlite3.Connection, execution: Execution, desk: str, run_n: int, now: Utc) -> _Owner | None:
    """Return the leg of an execution's order; `None` is foreign.

    An exit goes out even where its intent could not be recorded, so an own exit reference that is not known belongs
    to the contract's live holder. An unknown entry reference does not: entries are never sent unrecorded.
    """
    known = rows.first_row(db, _Owner, "SELECT intent_id, leg FROM orders WHERE order_ref = ?", (execution.order_ref,))
    if known is not None:
        return known
    if not is_of_desk(execution.order_ref, desk) or not is_exit_ref(execution.order_ref):
        return None
    holder = rows.first_row(
        db, _Owner, f"SELECT intent_id, leg FROM reservations WHERE con_id = ? AND {LIVE}", (execution.con_id,)
    )
    if holder is None:
        return None
    db.execute(
        "INSERT INTO orders (order_ref, desk, intent_id, leg, con_id, is_exit, side, qty, status, is_adopted, run_n,"
        " at_utc, changed_utc) VALUES (?,?,?,?,?,1,?,?,'adopted',1,?,?,?)",
        (
            execution.order_ref, desk, holder.intent_id, holder.leg, execution.con_id, execution.side.value,
            execution.qty, run_n, now, now,
        ),
    )  # fmt: skip
    return holder


def _reopen(db: sqlite3.Connection, owner: _Owner, con_id: int, desk: str) -> tuple[Fact, ...]:
    """Open the reservation of a fill, also one that was given up: a late fill is adopted."""
    key = (owner.intent_id, owner.leg)
    is_open = rows.exists(
        db, "SELECT 1 FROM reservations WHERE intent_id = ? AND leg = ? AND state = 'OPEN'", key
    )  # fmt: skip
    if is_open or _net(db, "intent_id = ? AND con_id = ?", (owner.intent_id, con_id)) == 0:
        return ()
    try:
        db.execute(_REOPEN, key)
    except sqlite3.IntegrityError:
        why = f"Contract {con_id} was filled late for {owner.intent_id} while another intent holds it."
        return (_no_entries(why, desk),)
    return ()


def _no_entries(why: str, desk: str) -> risk.RaiseKill:
    return risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=why, by=f"ledger:{desk}")
