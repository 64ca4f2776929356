"""Orders in a desk's ledger: the broker's identifiers and words; the schema's triggers keep the history of each."""

from __future__ import annotations

import sqlite3

from domain.units import Utc
from messages import orders
from storage import rows


def record_ids(db: sqlite3.Connection, order_ref: str, perm_id: int, status: str, now: Utc) -> None:
    """Keep the broker's identifier and status of an order; a perm id of 0 is none and leaves the known one."""
    db.execute(
        "UPDATE orders SET perm_id = ifnull(nullif(:perm_id, 0), perm_id), status = :status, changed_utc = :now"
        " WHERE order_ref = :order_ref",
        {"perm_id": perm_id, "status": status, "now": now, "order_ref": order_ref},
    )


def record_refusal(db: sqlite3.Connection, refusal: orders.BrokerRefused) -> None:
    """Keep the broker's words about an order that it refused, once."""
    values = {
        "order_ref": refusal.order_ref,
        "at_utc": refusal.at_utc,
        "event": "refused",
        "words": f"{refusal.vendor_code}: {refusal.text}",
    }
    known = "SELECT 1 FROM order_events WHERE (order_ref, at_utc, event, words) = (:order_ref, :at_utc, :event, :words)"
    if not rows.exists(db, known, values):
        rows.insert(db, "order_events", values)
