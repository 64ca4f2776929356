"""Positions and exit orders in a desk's ledger: what positions say of themselves, and how they ended."""

from __future__ import annotations

import sqlite3

from domain.instants import session_of
from domain.orders.intent import PositionRef
from domain.position.cycle import PositionState
from domain.units import Utc
from messages import orders, positions
from storage import fills, order_rows, rows
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
    of_contract = f"r.con_id = :con_id ORDER BY NOT r.{LIVE}, r.reserved_utc DESC LIMIT 1"
    wanted = {"position_id": exit_.position_id, "con_id": exit_.con_id}
    holder = rows.first_row(
        db,
        _Holder,
        "SELECT r.intent_id, r.leg, r.structure_id FROM positions p JOIN reservations r USING (intent_id, con_id)"
        f" WHERE p.position_id = :position_id AND {of_contract}",
        wanted,
    ) or rows.first_row(  # goes through all that were ever reserved: only for a position that has no row yet
        db, _Holder, f"SELECT r.intent_id, r.leg, r.structure_id FROM reservations r WHERE {of_contract}", wanted
    )
    if holder is None:
        raise ValueError(f"exit {exit_.order_ref} of contract {exit_.con_id}, which nobody reserved")
    rows.insert(
        db,
        "orders",
        {
            "order_ref": exit_.order_ref,
            "desk": desk,
            "intent_id": holder.intent_id,
            "leg": holder.leg,
            "structure_id": holder.structure_id,
            "position_id": exit_.position_id,
            "con_id": exit_.con_id,
            "is_exit": True,
            "side": exit_.side.value,
            "qty": exit_.qty,
            "status": "intended",
            "exit_n": exit_.exit_n,
            "exit_reason": exit_.reason.value,
            "exit_kind": exit_.kind.value,
            "tier": exit_.tier,
            "run_n": run_n,
            "at_utc": exit_.at_utc,
            "changed_utc": now,
            "combo_ref": exit_.combo_ref or None,
        },
        "ON CONFLICT DO UPDATE SET position_id = excluded.position_id, qty = excluded.qty, exit_n = excluded.exit_n,"
        " exit_reason = excluded.exit_reason, exit_kind = excluded.exit_kind, tier = excluded.tier,"
        " changed_by = 'desk', changed_why = '', changed_utc = excluded.changed_utc",
    )


def record_position(db: sqlite3.Connection, message: positions.RecordPosition, desk: str) -> None:
    """Keep a position's facts; the result of a closed one stands as `PositionClosed` gave it."""
    _write(
        db,
        message.ref,
        desk,
        "UPDATE positions SET state = :state, exit_reason = :exit_reason, exit_kind = :exit_kind, exit_n = :exit_n,"
        " tier = :tier, entry_spot_ticks = :entry_spot_ticks, entry_iv = :entry_iv, opened_utc = :opened_utc,"
        " took_part = :took_part, end = ifnull(:end, end),"
        " settlement_ticks = ifnull(:settlement_ticks, settlement_ticks),"
        " realised_cents = iif(closed_utc IS NULL, :realised_cents, realised_cents), changed_utc = :changed_utc"
        " WHERE position_id = :position_id",
        {
            "state": message.state.value,
            "exit_reason": message.exit_reason and message.exit_reason.value,
            "exit_kind": message.exit_kind and message.exit_kind.value,
            "exit_n": message.exit_n,
            "tier": message.tier,
            "entry_spot_ticks": message.entry_spot_ticks,
            "entry_iv": message.entry_iv,
            "opened_utc": message.opened_utc,
            "took_part": message.took_part,
            "end": message.end and message.end.value,
            "realised_cents": message.realised_cents,
            "settlement_ticks": message.settlement_ticks,
            "changed_utc": message.at_utc,
            "position_id": message.ref.position_id,
        },
    )


def close_position(db: sqlite3.Connection, closed: positions.PositionClosed, desk: str) -> None:
    """Keep a position's end and result; its contract is free again.

    A fee that the ledger heard of while the position was closing is in the result, too.
    """
    known_cents = fills.fees_of_leg(db, closed.ref.intent_id, closed.ref.contract.con_id)
    more_cents = max(0, known_cents - closed.fees_cents)
    _write(
        db,
        closed.ref,
        desk,
        "UPDATE positions SET state = :state, exit_reason = :exit_reason, end = :end, opened_qty = :opened_qty,"
        " realised_cents = :realised_cents, fees_cents = :fees_cents, opened_utc = :opened_utc,"
        " closed_utc = :closed_utc, session = :session, changed_utc = :changed_utc WHERE position_id = :position_id",
        {
            "state": PositionState.FLAT.value,
            "exit_reason": closed.reason and closed.reason.value,
            "end": closed.end.value,
            "opened_qty": closed.opened_qty,
            "realised_cents": closed.realised_cents - more_cents,
            "fees_cents": closed.fees_cents + more_cents,
            "opened_utc": closed.opened_utc,
            "closed_utc": closed.closed_utc,
            "session": session_of(closed.closed_utc).isoformat(),
            "changed_utc": closed.closed_utc,
            "position_id": closed.ref.position_id,
        },
    )
    db.execute(
        "UPDATE reservations SET state = 'CLOSED', ended_why = :why, ended_utc = :closed_utc"
        f" WHERE intent_id = :intent_id AND con_id = :con_id AND {LIVE}",
        {
            "why": closed.end.value,
            "closed_utc": closed.closed_utc,
            "intent_id": closed.ref.intent_id,
            "con_id": closed.ref.contract.con_id,
        },
    )
    order_rows.end_all(db, closed.ref.intent_id, closed.ref.contract.con_id, closed.end.value, closed.closed_utc)


def _write(db: sqlite3.Connection, ref: PositionRef, desk: str, update: str, columns: rows.Named) -> None:
    """Update a position's row; where there is none yet, it begins with these columns."""
    if db.execute(update, columns).rowcount:
        return
    leg, structure_id = db.execute(
        "SELECT leg, structure_id FROM reservations WHERE intent_id = ? AND con_id = ?",
        (ref.intent_id, ref.contract.con_id),
    ).fetchone() or (0, None)
    key = ref.key
    rows.insert(
        db,
        "positions",
        {
            "desk": desk,
            "intent_id": ref.intent_id,
            "leg": leg,
            "structure_id": structure_id,
            "con_id": ref.contract.con_id,
            "session": session_of(columns["changed_utc"]).isoformat(),
            "alert_id": key.alert_id,
            "source": key.source,
            "ticker": key.ticker,
            "kind": key.kind,
            "version": key.version,
            "bucket_utc": key.bucket_utc,
            "strategy": ref.strategy,
            "direction": ref.direction,
            "side": ref.side.value,
            **columns,
        },
    )
