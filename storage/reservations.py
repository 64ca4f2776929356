"""Reservations and gate rows: what a desk's ledger re-checks and writes for one entry attempt, in one transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import msgspec

from domain.risk.reject import RejectCode
from messages import orders

LIVE = "state IN ('PENDING_ENTRY', 'OPEN')"
_ENCODE = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Refusal:
    """Why the transaction refuses."""

    code: RejectCode
    measured: float | None = None
    limit: float | None = None
    looked_at: str = ""


def reserve(
    db: sqlite3.Connection, ask: orders.ReserveEntry, desk: str, run_n: int, now: int
) -> orders.EntryReserved | orders.EntryRefused:
    """Reserve the legs inside the caller's transaction, or refuse; either way with gate row and watermark."""
    refusal = _refusal_of(db, ask, now) or _insert_legs(db, ask, desk, run_n, now)
    _write_gate_row(db, ask, desk, refusal.code if refusal else None, refusal, ask.intent_id)
    _raise_watermark(db, ask)
    if refusal is None:
        return orders.EntryReserved(intent_id=ask.intent_id)
    return orders.EntryRefused(
        intent_id=ask.intent_id, code=refusal.code, measured=refusal.measured, limit=refusal.limit,
        looked_at=refusal.looked_at,
    )  # fmt: skip


def release(db: sqlite3.Connection, asked: orders.ReleaseReservation, now: int) -> None:
    """Give an intent up, also before it was reserved; what was filled stays held."""
    db.execute("INSERT INTO tombstones VALUES (?,?,?) ON CONFLICT DO NOTHING", (asked.intent_id, asked.reason, now))
    db.execute(
        "UPDATE reservations SET state = 'RELEASED', ended_why = ?, ended_utc = ?"
        " WHERE intent_id = ? AND state = 'PENDING_ENTRY'",
        (asked.reason, now, asked.intent_id),
    )


def abandon(db: sqlite3.Connection, intent_id: str, con_id: int, why: str, now: int) -> None:
    """End one leg whose entry filled nothing; a leg with fills stays held."""
    db.execute(
        "UPDATE reservations SET state = 'ABANDONED', ended_why = ?, ended_utc = ?"
        " WHERE intent_id = ? AND con_id = ? AND state = 'PENDING_ENTRY'",
        (why, now, intent_id, con_id),
    )


def record_denial(db: sqlite3.Connection, denial: orders.RecordDenial, desk: str) -> None:
    """Write the gate row and the watermark of a refused attempt.

    An interrupted attempt leaves a row only where the alert has none: the signal may have been decided on meanwhile.
    """
    if denial.code is RejectCode.ATTEMPT_INTERRUPTED and _has_gate_row(db, denial.alert_id):
        return
    _write_gate_row(db, denial, desk, denial.code, None, None)
    _raise_watermark(db, denial)


def _refusal_of(db: sqlite3.Connection, ask: orders.ReserveEntry, now: int) -> Refusal | None:
    """Check what others may have changed since the gates looked, in the gates' order."""
    tombstone = db.execute("SELECT reason FROM tombstones WHERE intent_id = ?", (ask.intent_id,)).fetchone()
    if tombstone is not None:
        return Refusal(RejectCode.ATTEMPT_INTERRUPTED, looked_at=f"given up before: {tombstone[0]}")
    if now > ask.expires_utc:
        late_ms = (now - ask.expires_utc) / 1_000_000
        return Refusal(RejectCode.DEADLINE_PASSED, late_ms, 0, "expires_utc of the request, in ms")
    locked = db.execute("SELECT locked_why FROM day WHERE session = ?", (ask.session.isoformat(),)).fetchone()
    if locked is not None and locked[0] is not None:
        return Refusal(RejectCode.DAY_LOCKED, looked_at=str(locked[0]))
    return _refusal_by_watermark(db, ask) or _refusal_by_counts(db, ask)


def _refusal_by_watermark(db: sqlite3.Connection, ask: orders.ReserveEntry) -> Refusal | None:
    if _has_gate_row(db, ask.alert_id):
        return Refusal(RejectCode.DUPLICATE_ALERT, looked_at=f"gate row of {ask.alert_id}")
    mark = db.execute(
        "SELECT bucket_utc, alert_id FROM watermarks WHERE source = ? AND ticker = ? AND kind = ? AND version = ?",
        (ask.source, ask.ticker, ask.kind, ask.version),
    ).fetchone()
    if mark is not None and mark[0] > ask.bucket_utc:
        return Refusal(RejectCode.DUPLICATE_ALERT, ask.bucket_utc, mark[0], f"watermark of {mark[1]}")
    return None


def _refusal_by_counts(db: sqlite3.Connection, ask: orders.ReserveEntry) -> Refusal | None:
    trades = _count(
        db, "session = ? AND strategy = ? AND state NOT IN ('RELEASED', 'ABANDONED')",
        (ask.session.isoformat(), ask.strategy),
    )  # fmt: skip
    if trades >= ask.max_trades:
        return Refusal(RejectCode.MAX_TRADES, trades, ask.max_trades, "reservations of the session and strategy")
    held = _count(db, LIVE, ())
    if held >= ask.max_positions:
        return Refusal(RejectCode.MAX_POSITIONS, held, ask.max_positions, "live reservations")
    of_ticker = _count(db, f"{LIVE} AND ticker = ?", (ask.ticker,))
    if of_ticker >= ask.per_ticker:
        return Refusal(RejectCode.TICKER_LIMIT, of_ticker, ask.per_ticker, "live reservations of the ticker")
    of_strategy = _count(db, f"{LIVE} AND strategy = ?", (ask.strategy,))
    if ask.one_position_only and of_strategy:
        return Refusal(RejectCode.ONE_POSITION_ONLY, of_strategy, 1, "live reservations of the strategy")
    against = _count(db, f"{LIVE} AND ticker = ? AND direction = ?", (ask.ticker, -ask.direction))
    if against:
        return Refusal(RejectCode.REVERSE_WITHOUT_FLAT, against, 0, "live reservations of the other direction")
    return None


def _count(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> int:
    """Count intents, not legs: a structure is one position and one trade."""
    return int(db.execute(f"SELECT count(DISTINCT intent_id) FROM reservations WHERE {where}", values).fetchone()[0])


def _has_gate_row(db: sqlite3.Connection, alert_id: str) -> bool:
    return db.execute("SELECT 1 FROM gate_log WHERE alert_id = ? LIMIT 1", (alert_id,)).fetchone() is not None


def _insert_legs(db: sqlite3.Connection, ask: orders.ReserveEntry, desk: str, run_n: int, now: int) -> Refusal | None:
    db.execute("SAVEPOINT legs")
    try:
        for n, leg in enumerate(ask.legs):
            _insert_leg(db, ask, leg, n, desk, run_n, now)
    except sqlite3.IntegrityError:
        db.execute("ROLLBACK TO legs")
        held = ", ".join(leg.contract.label for leg in ask.legs)
        return Refusal(RejectCode.DUPLICATE_POSITION, looked_at=f"live holders of {held}")
    finally:
        db.execute("RELEASE legs")
    return None


def _insert_leg(
    db: sqlite3.Connection, ask: orders.ReserveEntry, leg: orders.Leg, n: int, desk: str, run_n: int, now: int
) -> None:
    contract = leg.contract
    structure_id = ask.intent_id if len(ask.legs) > 1 else None
    db.execute(
        "INSERT INTO reservations (intent_id, leg, desk, structure_id, signal_id, alert_id, source, strategy, ticker,"
        " kind, version, direction, bucket_utc, session, con_id, underlying, trading_class, expiry, strike_ticks,"
        " right, multiplier, side, qty, limit_ticks, decision_bid_ticks, decision_ask_ticks, order_ref, deadline_utc,"
        " decided_utc, run_n, state, reserved_utc)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,'PENDING_ENTRY',?)",
        (
            ask.intent_id, n, desk, structure_id, ask.signal_id, ask.alert_id, ask.source, ask.strategy, ask.ticker,
            ask.kind, ask.version, ask.direction, ask.bucket_utc, ask.session.isoformat(), contract.con_id,
            contract.ticker, contract.trading_class, contract.expiry.isoformat(), contract.strike_ticks,
            contract.right.value, contract.multiplier, leg.side.value, leg.qty, leg.limit_ticks,
            leg.decision_bid_ticks, leg.decision_ask_ticks, leg.order_ref, ask.deadline_utc, ask.decided_utc, run_n,
            now,
        ),
    )  # fmt: skip
    db.execute(
        "INSERT INTO orders (order_ref, desk, intent_id, leg, structure_id, con_id, is_exit, side, qty, limit_ticks,"
        " status, run_n, at_utc, changed_utc) VALUES (?,?,?,?,?,?,0,?,?,?,'intended',?,?,?)",
        (
            leg.order_ref, desk, ask.intent_id, n, structure_id, contract.con_id, leg.side.value, leg.qty,
            leg.limit_ticks, run_n, now, now,
        ),
    )  # fmt: skip


def _write_gate_row(
    db: sqlite3.Connection,
    attempt: orders.ReserveEntry | orders.RecordDenial,
    desk: str,
    code: RejectCode | None,
    refusal: Refusal | None,
    intent_id: str | None,
) -> None:
    """Write the attempt's row; the deciding measure is the transaction's own, else that of the rejecting verdict."""
    verdicts = attempt.verdicts
    if refusal is not None:
        own = orders.Verdict(
            gate=25, name="reservation", outcome="reject", code=refusal.code, measured=refusal.measured,
            limit=refusal.limit, looked_at=refusal.looked_at,
        )  # fmt: skip
        verdicts += (own,)
    rejecting = next((v for v in reversed(verdicts) if v.outcome == "reject"), None) if code else None
    measure: tuple[int | None, float | None, float | None, str, str] = (None, None, None, "", "")
    if rejecting is not None:
        measure = (rejecting.gate, rejecting.measured, rejecting.limit, rejecting.unit, rejecting.looked_at)
    db.execute(
        "INSERT INTO gate_log (desk, session, signal_id, alert_id, intent_id, source, strategy, ticker, kind,"
        " version, is_shadow, bucket_utc, code, gate, measured, limit_value, unit, looked_at, verdicts, decided_utc)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
        (
            desk, attempt.session.isoformat(), attempt.signal_id, attempt.alert_id, intent_id, attempt.source,
            attempt.strategy, attempt.ticker, attempt.kind, attempt.version, code is RejectCode.SHADOW_SIGNAL,
            attempt.bucket_utc, code and code.value, *measure, _ENCODE(verdicts).decode(), attempt.decided_utc,
        ),
    )  # fmt: skip


def _raise_watermark(db: sqlite3.Connection, attempt: orders.ReserveEntry | orders.RecordDenial) -> None:
    db.execute(
        "INSERT INTO watermarks VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET bucket_utc = excluded.bucket_utc,"
        " alert_id = excluded.alert_id WHERE excluded.bucket_utc > watermarks.bucket_utc",
        (attempt.source, attempt.ticker, attempt.kind, attempt.version, attempt.bucket_utc, attempt.alert_id),
    )
