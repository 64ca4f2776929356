"""Executions made from the broker's own figures where it holds what no execution explains.

An order's adopted execution stands for what its real ones leave unexplained of the quantity that the broker's status
claimed. Each real one takes its part of it, in whatever order they come: nothing is counted twice.
"""

from __future__ import annotations

import sqlite3

from domain.instruments import Side
from domain.units import Qty, Ticks, Utc
from messages.broker import Execution
from storage import rows


class _Adopted(rows.Row, frozen=True):
    """The newest version of an order's adopted execution; `claimed_qty` is what the broker said was filled in all."""

    exec_id: str
    revision: int
    side: Side
    qty: Qty
    price_ticks: Ticks
    con_id: int
    at_utc: Utc
    is_current: bool
    claimed_qty: Qty


class _Made(rows.Row, frozen=True):
    """An adopted execution as it was kept."""

    exec_id: str
    revision: int
    order_ref: str
    con_id: int
    side: Side
    qty: Qty
    price_ticks: Ticks
    at_utc: Utc
    raw: str


def execution_of(
    db: sqlite3.Connection, order_ref: str, con_id: int, side: Side, missing: Qty, price_ticks: Ticks, at_utc: Utc
) -> Execution:
    """Return the execution that explains what is missing of an order, to be recorded like any other."""
    known = _newest(db, order_ref)
    held = known.qty if known is not None and known.is_current else 0
    return Execution(
        exec_id=exec_id_of(order_ref), revision=1 if known is None else known.revision + 1, order_ref=order_ref,
        perm_id=0, con_id=con_id, side=side, qty=Qty(held + missing), price_ticks=price_ticks, at_utc=at_utc,
        raw="adopted from the broker's position", is_adopted=True,
    )  # fmt: skip


def made_since(db: sqlite3.Connection, at_utc: Utc) -> tuple[Execution, ...]:
    """Return the adopted executions in force that were kept since an instant."""
    found = rows.all_rows(
        db,
        _Made,
        f"SELECT {rows.columns_of(_Made)} FROM executions"
        " WHERE is_adopted AND is_current AND recorded_utc >= ? ORDER BY order_ref",
        (at_utc,),
    )
    return tuple(
        Execution(
            exec_id=made.exec_id, revision=made.revision, order_ref=made.order_ref, perm_id=0, con_id=made.con_id,
            side=made.side, qty=made.qty, price_ticks=made.price_ticks, at_utc=made.at_utc, raw=made.raw,
            is_adopted=True,
        )
        for made in found
    )  # fmt: skip


def claim(db: sqlite3.Connection, execution: Execution, filled_qty: Qty) -> None:
    """Keep what the broker's status claimed when an execution was adopted."""
    db.execute(
        "UPDATE executions SET claimed_qty = ? WHERE exec_id = ? AND revision = ?",
        (filled_qty, execution.exec_id, execution.revision),
    )


def was_made(db: sqlite3.Connection, order_ref: str) -> bool:
    """Return whether an order ever had an adopted execution."""
    return rows.exists(db, "SELECT 1 FROM executions WHERE exec_id = ?", (exec_id_of(order_ref),))


def make_room(db: sqlite3.Connection, order_ref: str, now: Utc) -> bool:
    """Let an order's real executions take their part of its adopted one; return whether they took any."""
    known = _newest(db, order_ref)
    assert known is not None
    if not known.is_current:
        return False
    real = rows.number(  # the greatest of each one's versions: a correction does not bring back what it took
        db,
        "SELECT ifnull(sum(most), 0) FROM (SELECT max(qty) AS most FROM executions"
        " WHERE order_ref = ? AND NOT is_adopted AND qty >= 1 GROUP BY exec_id)",
        (order_ref,),
    )
    left = max(0, known.claimed_qty - real)
    if left == known.qty:
        return False
    db.execute("UPDATE executions SET is_current = 0 WHERE exec_id = ? AND is_current", (known.exec_id,))
    if left:
        db.execute(
            "INSERT INTO executions (exec_id, revision, desk, order_ref, intent_id, con_id, side, qty, price_ticks,"
            " at_utc, session, is_current, is_foreign, raw, recorded_utc, is_adopted, claimed_qty)"
            " SELECT exec_id, revision + 1, desk, order_ref, intent_id, con_id, side, :left, price_ticks, at_utc,"
            " session, 1, 0, raw, :now, 1, claimed_qty FROM executions"
            " WHERE (exec_id, revision) = (:exec_id, :revision)",
            {"left": left, "now": now, "exec_id": known.exec_id, "revision": known.revision},
        )
    return True


def exec_id_of(order_ref: str) -> str:
    """Return the id of an order's adopted execution."""
    return f"adopted:{order_ref}"


def _newest(db: sqlite3.Connection, order_ref: str) -> _Adopted | None:
    return rows.first_row(
        db,
        _Adopted,
        f"SELECT {rows.columns_of(_Adopted)} FROM executions WHERE exec_id = ? ORDER BY revision DESC LIMIT 1",
        (exec_id_of(order_ref),),
    )
