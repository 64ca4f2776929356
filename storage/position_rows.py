"""Positions and exit orders in a desk's ledger: what positions say of themselves, and how they ended."""

from __future__ import annotations

import sqlite3

from domain.instants import session_of
from domain.orders.intent import PositionRef
from domain.position.cycle import PositionState
from domain.units import Utc
from messages import orders, positions
from storage import rows
from storage.ledger_schema import LIVE


class _Holder(rows.Row, frozen=True):
    """The reserved leg that an exit closes."""

    intent_id: str
    leg: int
    structure_id: str | None


def record_exit_intent(db: sqlite3.Connection, exit_: orders.RecordExitIntent, desk: str, run_n: int, now: Utc) -> None:
    """Keep an exit order with its contract's holder; a later tier of the same order changes its row.

    Raises:
        ValueError: nobody ever reserved the contract.
    """
    holder = rows.first_row(
        db,
        _Holder,
        "SELECT r.intent_id, r.leg, r.structure_id FROM reservations r"
        " LEFT JOIN positions p ON p.intent_id = r.intent_id AND p.con_id = r.con_id AND p.position_id = ?"
        f" WHERE r.con_id = ? ORDER BY p.position_id IS NULL, NOT r.{LIVE}, r.reserved_utc DESC LIMIT 1",
        (exit_.position_id, exit_.con_id),
    )
    if holder is None:
        raise ValueError(f"exit {exit_.order_ref} of contract {exit_.con_id}, which nobody reserved")
    db.execute(
        "INSERT INTO orders (order_ref, desk, intent_id, leg, structure_id, position_id, con_id, is_exit, side,"
        " qty, status, exit_n, exit_reason, exit_kind, tier, run_n, at_utc, changed_utc)"
        " VALUES (?,?,?,?,?,?,?,1,?,?,'intended',?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET"
        " position_id = excluded.position_id, qty = excluded.qty, exit_n = excluded.exit_n,"
        " exit_reason = excluded.exit_reason, exit_kind = excluded.exit_kind, tier = excluded.tier,"
        " changed_utc = excluded.changed_utc",
        (
            exit_.order_ref, desk, holder.intent_id, holder.leg, holder.structure_id, exit_.position_id, exit_.con_id,
            exit_.side.value, exit_.qty, exit_.exit_n, exit_.reason.value, exit_.kind.value, exit_.tier, run_n,
            exit_.at_utc, now,
        ),
    )  # fmt: skip


def record_position(db: sqlite3.Connection, message: positions.RecordPosition, desk: str) -> None:
    """Keep a position's facts; the result of a closed one stands as `PositionClosed` gave it."""
    _write(
        db, message.ref, message.at_utc, desk,
        "UPDATE positions SET state = ?, exit_reason = ?, exit_kind = ?, exit_n = ?, tier = ?,"
        " entry_spot_ticks = ?, entry_iv = ?, opened_utc = ?, took_part = ?, end = ifnull(?, end),"
        " realised_cents = iif(closed_utc IS NULL, ?, realised_cents), changed_utc = ? WHERE position_id = ?",
        (
            message.state.value, message.exit_reason and message.exit_reason.value,
            message.exit_kind and message.exit_kind.value, message.exit_n, message.tier, message.entry_spot_ticks,
            message.entry_iv, message.opened_utc, message.took_part, message.end and message.end.value,
            message.realised_cents, message.at_utc, message.ref.position_id,
        ),
    )  # fmt: skip


def close_position(db: sqlite3.Connection, closed: positions.PositionClosed, desk: str) -> None:
    """Keep a position's end and result; its contract is free again."""
    _write(
        db, closed.ref, closed.closed_utc, desk,
        "UPDATE positions SET state = 'FLAT', exit_reason = ?, end = ?, opened_qty = ?, realised_cents = ?,"
        " fees_cents = ?, opened_utc = ?, closed_utc = ?, session = ?, changed_utc = ? WHERE position_id = ?",
        (
            closed.reason and closed.reason.value, closed.end.value, closed.opened_qty, closed.realised_cents,
            closed.fees_cents, closed.opened_utc, closed.closed_utc, session_of(closed.closed_utc).isoformat(),
            closed.closed_utc, closed.ref.position_id,
        ),
    )  # fmt: skip
    db.execute(
        f"UPDATE reservations SET state = 'CLOSED', ended_why = ?, ended_utc = ?"
        f" WHERE intent_id = ? AND con_id = ? AND {LIVE}",
        (closed.end.value, closed.closed_utc, closed.ref.intent_id, closed.ref.contract.con_id),
    )


def _write(
    db: sqlite3.Connection, ref: PositionRef, at_utc: Utc, desk: str, update: str, values: rows.Values
) -> None:  # fmt: skip
    """Update a position's row, which is made first where there is none yet."""
    if db.execute(update, values).rowcount == 0:
        _insert(db, ref, at_utc, desk)
        db.execute(update, values)


def _insert(db: sqlite3.Connection, ref: PositionRef, at_utc: Utc, desk: str) -> None:
    leg, structure_id = db.execute(
        "SELECT leg, structure_id FROM reservations WHERE intent_id = ? AND con_id = ?",
        (ref.intent_id, ref.contract.con_id),
    ).fetchone() or (0, None)
    key = ref.key
    db.execute(
        "INSERT INTO positions (position_id, desk, intent_id, leg, structure_id, con_id, session, alert_id, source,"
        " ticker, kind, version, bucket_utc, strategy, direction, side, state, changed_utc)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            ref.position_id, desk, ref.intent_id, leg, structure_id, ref.contract.con_id,
            session_of(at_utc).isoformat(), key.alert_id, key.source, key.ticker, key.kind, key.version,
            key.bucket_utc, ref.strategy, ref.direction, ref.side.value, PositionState.FLAT.value, at_utc,
        ),
    )  # fmt: skip
