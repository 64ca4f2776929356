"""Executions and fees in a desk's ledger: each execution once, its highest revision in force, totals over those."""

from __future__ import annotations

import sqlite3

from domain.instants import session_of
from domain.instruments import Side
from messages import orders, risk, session

Recorded = orders.RecordExecution | session.BrokerExecution
Fact = orders.FillRecorded | orders.CommissionRecorded | risk.RaiseKill

_HAND_OVER = (
    "UPDATE reservations SET state = 'OPEN', ended_why = NULL, ended_utc = NULL WHERE intent_id = ? AND leg = ?"
)


def own_prefix(desk: str) -> str:
    """Give what every order reference of this desk starts with."""
    return f"ZH-{desk}-"


def is_exit_ref(order_ref: str) -> bool:
    """Tell an exit's reference (`…-xN`) from an entry's (`…-e`)."""
    return order_ref.rpartition("-")[2].startswith("x")


def record_execution(
    db: sqlite3.Connection, execution: Recorded, desk: str, run_n: int, now: int
) -> tuple[bool, tuple[Fact, ...]]:
    """Keep one execution inside the caller's transaction; say whether it was new, and what is to be told.

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
        "INSERT INTO executions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            execution.exec_id, execution.revision, desk, execution.order_ref, owner and owner[0], execution.con_id,
            execution.side.value, execution.qty, execution.price_ticks, execution.at_utc,
            session_of(execution.at_utc).isoformat(), is_current, owner is None, execution.raw, now,
        ),
    )  # fmt: skip
    if not is_current:
        return True, ()
    if owner is None:
        why = f"Execution {execution.exec_id} of contract {execution.con_id} belongs to no order of {desk}."
        return True, (risk.RaiseKill(level=1, reason=why, by=f"ledger:{desk}"),)
    facts: tuple[Fact, ...] = (_fill(db, execution), *_take_up(db, owner, execution.con_id, desk))
    heard = "SELECT 1 FROM commissions WHERE exec_id = ?"
    if db.execute(heard, (execution.exec_id,)).fetchone() is not None:  # a fee that came before its execution
        facts += (_commission(db, execution.order_ref, execution.con_id),)
    return True, facts


def record_commission(db: sqlite3.Connection, fee: orders.RecordCommission, now: int) -> tuple[Fact, ...]:
    """Keep one fee; told where its execution is known and ours, else when that arrives."""
    known = db.execute(
        "INSERT INTO commissions VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
        (fee.exec_id, fee.revision, fee.commission_cents, now),
    )
    if known.rowcount == 0:
        return ()
    row = db.execute(
        "SELECT order_ref, con_id FROM executions WHERE exec_id = ? AND is_current AND NOT is_foreign", (fee.exec_id,)
    ).fetchone()
    if row is None:
        return ()
    _add_to_closed(db, row[0])
    return (_commission(db, row[0], row[1]),)


_FEES = (
    "SELECT e.qty, (SELECT commission_cents FROM commissions c WHERE c.exec_id = e.exec_id"
    " ORDER BY c.revision DESC LIMIT 1) AS cents FROM executions e WHERE e.is_current AND"
)


def fees_of(db: sqlite3.Connection, order_ref: str) -> tuple[int, int]:
    """Give the fees of an order in cents (the highest revision of each execution's), and the contracts they are for."""
    cents, qty = db.execute(
        f"SELECT ifnull(sum(cents), 0), ifnull(sum(qty), 0) FROM ({_FEES} e.order_ref = ?) WHERE cents IS NOT NULL",
        (order_ref,),
    ).fetchone()
    return int(cents), int(qty)


def _add_to_closed(db: sqlite3.Connection, order_ref: str) -> None:
    """Bring a closed position's result in line with a fee that came after it had closed."""
    db.execute(
        "UPDATE positions SET realised_cents = realised_cents + fees_cents - late.cents, fees_cents = late.cents FROM"
        f" (SELECT sum(cents) AS cents FROM ({_FEES} e.intent_id = (SELECT intent_id FROM orders WHERE order_ref = ?)))"
        " AS late WHERE closed_utc IS NOT NULL"
        " AND (intent_id, con_id) = (SELECT intent_id, con_id FROM orders WHERE order_ref = ?)",
        (order_ref, order_ref),
    )


def totals_of(db: sqlite3.Connection, order_ref: str) -> tuple[int, int]:
    """Give an order's filled quantity and its cost in ticks times contracts."""
    qty, cost = db.execute(
        "SELECT ifnull(sum(qty), 0), ifnull(sum(qty * price_ticks), 0) FROM executions"
        " WHERE order_ref = ? AND is_current",
        (order_ref,),
    ).fetchone()
    return int(qty), int(cost)


def net_of_intent(db: sqlite3.Connection, intent_id: str, con_id: int) -> int:
    """Give the signed quantity that an intent's executions hold of a contract."""
    return _net(db, "intent_id = ? AND con_id = ?", (intent_id, con_id))


def net_of_contract(db: sqlite3.Connection, con_id: int) -> int:
    """Give the signed quantity that all our executions hold of a contract."""
    return _net(db, "con_id = ? AND NOT is_foreign", (con_id,))


def _net(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> int:
    (net,) = db.execute(
        "SELECT ifnull(sum(CASE side WHEN 'BUY' THEN qty ELSE -qty END), 0) FROM executions"
        f" WHERE is_current AND {where}",
        values,
    ).fetchone()
    return int(net)


def _is_known(db: sqlite3.Connection, execution: Recorded) -> bool:
    key = (execution.exec_id, execution.revision)
    return db.execute("SELECT 1 FROM executions WHERE exec_id = ? AND revision = ?", key).fetchone() is not None


def _fill(db: sqlite3.Connection, execution: Recorded) -> orders.FillRecorded:
    qty, cost = totals_of(db, execution.order_ref)
    return orders.FillRecorded(
        order_ref=execution.order_ref, con_id=execution.con_id, side=Side(execution.side), exec_id=execution.exec_id,
        revision=execution.revision, qty=execution.qty, price_ticks=execution.price_ticks, at_utc=execution.at_utc,
        filled_qty_total=qty, filled_cost_ticks_total=cost,
    )  # fmt: skip


def _commission(db: sqlite3.Connection, order_ref: str, con_id: int) -> orders.CommissionRecorded:
    cents, qty = fees_of(db, order_ref)
    return orders.CommissionRecorded(
        order_ref=order_ref, con_id=con_id, commission_cents_total=cents, charged_qty_total=qty
    )


def _owner_of(db: sqlite3.Connection, execution: Recorded, desk: str, run_n: int, now: int) -> tuple[str, int] | None:
    """Find the (intent, leg) of an execution's order; `None` is foreign.

    An exit goes out even where its intent could not be recorded, so an own exit reference that is not known belongs
    to the contract's live holder. An unknown entry reference does not: entries are never sent unrecorded.
    """
    known = db.execute("SELECT intent_id, leg FROM orders WHERE order_ref = ?", (execution.order_ref,)).fetchone()
    if known is not None:
        return str(known[0]), int(known[1])
    if not execution.order_ref.startswith(own_prefix(desk)) or not is_exit_ref(execution.order_ref):
        return None
    holder = db.execute(
        "SELECT intent_id, leg FROM reservations WHERE con_id = ? AND state IN ('PENDING_ENTRY', 'OPEN')",
        (execution.con_id,),
    ).fetchone()
    if holder is None:
        return None
    db.execute(
        "INSERT INTO orders (order_ref, desk, intent_id, leg, con_id, is_exit, side, qty, status, is_adopted, run_n,"
        " at_utc, changed_utc) VALUES (?,?,?,?,?,1,?,?,'adopted',1,?,?,?)",
        (
            execution.order_ref, desk, *holder, execution.con_id, execution.side.value, execution.qty, run_n, now, now,
        ),
    )  # fmt: skip
    return str(holder[0]), int(holder[1])


def _take_up(db: sqlite3.Connection, owner: tuple[str, int], con_id: int, desk: str) -> tuple[Fact, ...]:
    """Open the reservation of a fill, also one that was given up: a late fill is adopted."""
    (state,) = db.execute("SELECT state FROM reservations WHERE intent_id = ? AND leg = ?", owner).fetchone()
    if state == "OPEN" or net_of_intent(db, owner[0], con_id) == 0:
        return ()
    try:
        db.execute(_HAND_OVER, owner)
    except sqlite3.IntegrityError:
        why = f"Contract {con_id} was filled late for {owner[0]} while another intent holds it."
        return (risk.RaiseKill(level=1, reason=why, by=f"ledger:{desk}"),)
    return ()
