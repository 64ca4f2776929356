"""Orders in a desk's ledger: the broker's identifiers and words; the schema's triggers keep the history of each."""

from __future__ import annotations

import sqlite3

from domain.units import Ticks, Utc
from messages import orders
from storage import rows

OVER = "('filled', 'cancelled', 'inactive', 'released', 'abandoned')"


def record_ids(
    db: sqlite3.Connection, order_ref: str, perm_id: int, status: str, now: Utc, limit_ticks: Ticks | None = None,
    by: str = "read-back",
) -> None:  # fmt: skip
    """Keep the broker's identifier, status and limit of an order.

    A perm id of 0 is none, and no limit is a market order's or not told: both leave what is known. What says nothing
    new changes nothing: every read-back tells the day's orders again.
    """
    db.execute(
        "UPDATE orders SET perm_id = ifnull(nullif(:perm_id, 0), perm_id), status = :status,"
        " limit_ticks = ifnull(:limit_ticks, limit_ticks), changed_by = :by, changed_why = '', changed_utc = :now"
        " WHERE order_ref = :order_ref AND (status <> :status OR perm_id IS NOT ifnull(nullif(:perm_id, 0), perm_id)"
        " OR limit_ticks IS NOT ifnull(:limit_ticks, limit_ticks))",
        {
            "perm_id": perm_id,
            "status": status,
            "limit_ticks": limit_ticks,
            "by": by,
            "now": now,
            "order_ref": order_ref,
        },
    )


def end_released(db: sqlite3.Connection, intent_id: str, why: str, now: Utc) -> None:
    """End the orders of a released intent that nobody has sent."""
    db.execute(
        "UPDATE orders SET status = 'released', changed_by = 'desk', changed_why = :why, changed_utc = :now"
        " WHERE intent_id = :intent_id AND status = 'intended' AND EXISTS (SELECT 1 FROM reservations r"
        " WHERE r.intent_id = orders.intent_id AND r.leg = orders.leg AND r.state = 'RELEASED')",
        {"intent_id": intent_id, "why": why, "now": now},
    )


def end_all(db: sqlite3.Connection, intent_id: str, con_id: int, why: str, now: Utc) -> None:
    """End the orders of a leg that is over, of which the broker has not told the end: by their fills."""
    left = f"intent_id = :intent_id AND con_id = :con_id AND status NOT IN {OVER}"
    leg = {"intent_id": intent_id, "con_id": con_id}
    if not rows.exists(db, f"SELECT 1 FROM orders WHERE {left}", leg):  # of most the broker has: a look is cheaper
        return
    db.execute(
        "UPDATE orders SET changed_by = 'ledger', changed_why = :why, changed_utc = :now, status = iif("
        "(SELECT ifnull(sum(e.qty), 0) FROM executions e WHERE e.order_ref = orders.order_ref AND e.is_current) >= qty,"
        f" 'filled', 'abandoned') WHERE {left}",
        {**leg, "why": why, "now": now},
    )


def record_note(db: sqlite3.Connection, note: orders.SliceNoted) -> None:
    """Keep what became of an entry in slices, once, in the history of its first order."""
    _note(db, note.order_ref, note.at_utc, note.event, note.why, "desk")


def record_refusal(db: sqlite3.Connection, refusal: orders.BrokerRefused) -> None:
    """Keep the broker's words about an order that it refused, once."""
    _note(db, refusal.order_ref, refusal.at_utc, "refused", f"{refusal.vendor_code}: {refusal.text}", "broker")


def _note(db: sqlite3.Connection, order_ref: str, at_utc: Utc, event: str, words: str, by: str) -> None:
    values = {"order_ref": order_ref, "at_utc": at_utc, "event": event, "words": words, "by": by}
    known = "SELECT 1 FROM order_events WHERE (order_ref, at_utc, event, words) = (:order_ref, :at_utc, :event, :words)"
    if not rows.exists(db, known, values):
        rows.insert(db, "order_events", values)
