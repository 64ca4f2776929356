"""What a desk's ledger gives back to an actor that starts."""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

from domain.instruments import Contract, Right, Side
from domain.position.cycle import ExitKind, ExitReason, PositionState
from messages import lifecycle
from storage import fills
from storage.ledger_schema import SHARED
from storage.reservations import LIVE
from storage.sqlite_file import open_reader

CONTRACT_COLUMNS = "con_id, underlying, trading_class, expiry, strike_ticks, right, multiplier"
_RESERVATION_COLUMNS = (
    "intent_id, signal_id, source, strategy, ticker, direction, order_ref, qty, limit_ticks, deadline_utc, state, "
    + CONTRACT_COLUMNS
)


def contract_of(columns: tuple[Any, ...]) -> Contract:
    """Give the contract of a row's `CONTRACT_COLUMNS`."""
    con_id, ticker, trading_class, expiry, strike_ticks, right, multiplier = columns
    return Contract(con_id, ticker, trading_class, date.fromisoformat(expiry), strike_ticks, Right(right), multiplier)


def restored_for(
    db: sqlite3.Connection, asked: lifecycle.ReadState, folder: Path, run_n: int
) -> lifecycle.Restored | None:
    """Give what the ledger knows of the named actor; `None` where it keeps nothing for it."""
    match asked.name.split(":"):
        case ["risk", _]:
            return _risk(db, asked.session, folder)
        case ["position", _, con_id]:
            return _position(db, int(con_id))
        case ["positions", _]:
            rows = db.execute(f"SELECT con_id FROM reservations WHERE {LIVE} ORDER BY con_id").fetchall()
            return lifecycle.DaySoFar(con_ids=tuple(row[0] for row in rows))
        case ["ibkr", _]:
            return _ibkr(db, run_n)
    return None


def _reservation(row: tuple[Any, ...]) -> lifecycle.Reservation:
    return lifecycle.Reservation(
        intent_id=row[0], signal_id=row[1], source=row[2], strategy=row[3], ticker=row[4], direction=row[5],
        order_ref=row[6], qty=row[7], limit_ticks=row[8], deadline_utc=row[9], state=row[10],
        contract=contract_of(row[11:]),
    )  # fmt: skip


def _risk(db: sqlite3.Connection, day: date, folder: Path) -> lifecycle.RiskRestored:
    session = day.isoformat()
    locked = db.execute("SELECT locked_why, start_nav_cents FROM day WHERE session = ?", (session,)).fetchone()
    decisions = db.execute(
        "SELECT source, strategy, ticker, kind, version, bucket_utc, alert_id, code, decided_utc FROM gate_log"
        " WHERE session = ? ORDER BY n",
        (session,),
    ).fetchall()
    live = db.execute(
        f"SELECT {_RESERVATION_COLUMNS} FROM reservations WHERE {LIVE} ORDER BY reserved_utc, intent_id, leg"
    ).fetchall()
    closed = db.execute(
        "SELECT position_id, strategy, realised_cents, fees_cents, closed_utc FROM positions"
        " WHERE session = ? AND closed_utc IS NOT NULL ORDER BY closed_utc, position_id",
        (session,),
    ).fetchall()
    decided = {row[6] for row in decisions}
    return lifecycle.RiskRestored(
        session=day,
        day_locked=locked and locked[0],
        start_nav_cents=locked and locked[1],
        decisions=tuple(
            lifecycle.GateDecision(
                source=row[0], strategy=row[1], ticker=row[2], kind=row[3], version=row[4], bucket_utc=row[5],
                alert_id=row[6], code=row[7], decided_utc=row[8],
            )
            for row in decisions
        ),
        reservations=tuple(_reservation(row) for row in live),
        closed=tuple(
            lifecycle.ClosedTrade(
                position_id=row[0], strategy=row[1] or "", realised_cents=row[2], fees_cents=row[3], closed_utc=row[4]
            )
            for row in closed
        ),
        pending_alerts=tuple(alert for alert in _alerts(folder, session) if alert[0] not in decided),
    )  # fmt: skip


def _alerts(folder: Path, session: str) -> tuple[tuple[str, int], ...]:
    """Give (alert_id, raised_utc) of the session's alerts, which stand in the shared ledger."""
    shared = open_reader(folder / "ledger.db", SHARED)
    if shared is None:
        return ()
    try:
        rows = shared.execute(
            "SELECT alert_id, raised_utc FROM alerts WHERE session = ? ORDER BY raised_utc, alert_id", (session,)
        ).fetchall()
    finally:
        shared.close()
    return tuple((row[0], row[1]) for row in rows)


def _order_fills(db: sqlite3.Connection, intent_id: str, con_id: int) -> tuple[lifecycle.OrderFill, ...]:
    rows = db.execute(
        "SELECT o.order_ref, o.is_exit, o.side, sum(e.qty), sum(e.qty * e.price_ticks), min(e.at_utc) FROM orders o"
        " JOIN executions e ON e.order_ref = o.order_ref AND e.is_current WHERE o.intent_id = ? AND o.con_id = ?"
        " GROUP BY o.order_ref ORDER BY min(e.at_utc), o.order_ref",
        (intent_id, con_id),
    ).fetchall()
    return tuple(
        lifecycle.OrderFill(
            order_ref=row[0], is_exit=bool(row[1]), side=Side(row[2]), qty=row[3], cost_ticks=row[4],
            fees_cents=fees_cents, charged_qty=charged_qty, first_utc=row[5],
        )
        for row in rows
        for fees_cents, charged_qty in (fills.fees_of(db, row[0]),)
    )  # fmt: skip


def _position(db: sqlite3.Connection, con_id: int) -> lifecycle.PositionRestored:
    live = db.execute(
        f"SELECT {_RESERVATION_COLUMNS} FROM reservations WHERE con_id = ? AND {LIVE}", (con_id,)
    ).fetchone()
    if live is None:
        return lifecycle.PositionRestored(
            reservation=None, fills=(), position_id=None, state=PositionState.FLAT, exit_reason=None, exit_kind=None,
            exit_n=0, exit_order_ref=None, tier=0, entry_spot_ticks=None, entry_iv=None, opened_utc=None,
            took_part=False,
        )  # fmt: skip
    reservation = _reservation(live)
    known = db.execute(
        "SELECT position_id, state, exit_reason, exit_kind, exit_n, tier, entry_spot_ticks, entry_iv, opened_utc,"
        " took_part FROM positions WHERE intent_id = ? AND con_id = ? ORDER BY changed_utc DESC LIMIT 1",
        (reservation.intent_id, con_id),
    ).fetchone() or (None, "PENDING_ENTRY", None, None, 0, 0, None, None, None, 0)
    state, reason, kind, exit_n, tier = known[1:6]
    exit_ = db.execute(
        "SELECT order_ref, exit_n, exit_reason, exit_kind, tier FROM orders WHERE intent_id = ? AND con_id = ?"
        " AND exit_n IS NOT NULL ORDER BY exit_n DESC, at_utc DESC LIMIT 1",
        (reservation.intent_id, con_id),
    ).fetchone()
    if exit_ is not None and exit_[1] > exit_n:  # the exit's own record is newer than the position's
        state, (exit_n, reason, kind, tier) = "PENDING_EXIT", exit_[1:]
    return lifecycle.PositionRestored(
        reservation=reservation,
        fills=_order_fills(db, reservation.intent_id, con_id),
        position_id=known[0],
        state=PositionState(state),
        exit_reason=ExitReason(reason) if reason else None,
        exit_kind=ExitKind(kind) if kind else None,
        exit_n=exit_n,
        exit_order_ref=exit_[0] if exit_ is not None else None,
        tier=max(tier, exit_[4]) if exit_ is not None and exit_[1] == exit_n else tier,
        entry_spot_ticks=known[6],
        entry_iv=known[7],
        opened_utc=known[8],
        took_part=bool(known[9]),
    )


def _ibkr(db: sqlite3.Connection, run_n: int) -> lifecycle.IbkrRestored:
    rows = db.execute(
        f"SELECT o.order_ref, o.con_id, o.is_exit, o.qty FROM orders o JOIN reservations r USING (intent_id, leg)"
        f" WHERE r.{LIVE} AND o.status NOT IN ('filled', 'cancelled', 'inactive')"
        " ORDER BY o.at_utc, o.order_ref"
    ).fetchall()
    return lifecycle.IbkrRestored(orders=tuple((row[0], row[1], bool(row[2]), row[3]) for row in rows), run_n=run_n)
