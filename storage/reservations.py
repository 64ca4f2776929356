"""Reservations and gate rows: what a desk's ledger re-checks and writes for one entry attempt, in one transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import msgspec

from domain.instants import MS
from domain.orders.intent import OrderLeg
from domain.risk.gates.sequence import RESERVATION
from domain.risk.gates.types import Finding, Outcome, Verdict
from domain.risk.reject import RejectCode
from domain.signals.alert import AlertKey
from domain.units import Utc
from messages import entries
from storage import rows
from storage.ledger_schema import LIVE

_ENCODE = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Refusal:
    """Why the transaction refuses."""

    code: RejectCode
    measured: float | None = None
    limit: float | None = None
    looked_at: str = ""

    @property
    def verdict(self) -> Verdict:
        """The refusal as the verdict of the last gate."""
        finding = Finding(Outcome.REJECT, self.code, self.measured, self.limit, looked_at=self.looked_at)
        return Verdict(RESERVATION, finding)


def reserve(
    db: sqlite3.Connection, attempt: entries.ReserveEntry, desk: str, run_n: int, now: Utc
) -> entries.EntryReserved | entries.EntryRefused:
    """Reserve the legs inside the caller's transaction, or refuse; either way with gate row and watermark."""
    refusal = _refusal_of(db, attempt, now) or _insert_legs(db, attempt, desk, run_n, now)
    intent = attempt.intent
    _write_gate_row(
        db,
        _GateRow(
            desk, attempt.session.isoformat(), intent.key, intent.strategy, refusal.code if refusal else None,
            attempt.verdicts if refusal is None else (*attempt.verdicts, refusal.verdict), attempt.decided_utc,
            intent.intent_id, _structure_of(attempt),
        ),
    )  # fmt: skip
    _raise_watermark(db, intent.key)
    if refusal is None:
        return entries.EntryReserved(intent_id=intent.intent_id)
    return entries.EntryRefused(
        intent_id=intent.intent_id, code=refusal.code, measured=refusal.measured, limit=refusal.limit,
        looked_at=refusal.looked_at,
    )  # fmt: skip


def release(db: sqlite3.Connection, message: entries.ReleaseReservation, now: Utc) -> None:
    """Release an intent, also before it was reserved; what was filled stays held."""
    db.execute(
        "INSERT INTO tombstones (intent_id, reason, at_utc) VALUES (?,?,?) ON CONFLICT DO NOTHING",
        (message.intent_id, message.reason, now),
    )
    db.execute(
        "UPDATE reservations SET state = 'RELEASED', ended_why = ?, ended_utc = ?"
        " WHERE intent_id = ? AND state = 'PENDING_ENTRY'",
        (message.reason, now, message.intent_id),
    )


def abandon(db: sqlite3.Connection, intent_id: str, con_id: int, why: str, now: Utc) -> None:
    """End one leg whose entry filled nothing; a leg with fills stays held."""
    db.execute(
        "UPDATE reservations SET state = 'ABANDONED', ended_why = ?, ended_utc = ?"
        " WHERE intent_id = ? AND con_id = ? AND state = 'PENDING_ENTRY'",
        (why, now, intent_id, con_id),
    )


def record_denial(db: sqlite3.Connection, denial: entries.RecordDenial, desk: str) -> None:
    """Write the gate row and the watermark of a refused attempt.

    An interrupted attempt leaves a row only where the alert has none: the signal may have been decided on meanwhile.
    """
    if denial.code is RejectCode.ATTEMPT_INTERRUPTED and _has_gate_row(db, denial.key.alert_id):
        return
    _write_gate_row(
        db,
        _GateRow(
            desk, denial.session.isoformat(), denial.key, denial.strategy, denial.code, denial.verdicts,
            denial.decided_utc,
        ),
    )  # fmt: skip
    _raise_watermark(db, denial.key)


# -- what others may have changed since the gates looked ------------------------------------------


def _refusal_of(db: sqlite3.Connection, attempt: entries.ReserveEntry, now: Utc) -> Refusal | None:
    """Check again, in the gates' order."""
    tombstone = db.execute(
        "SELECT reason FROM tombstones WHERE intent_id = ?", (attempt.intent.intent_id,)
    ).fetchone()  # fmt: skip
    if tombstone is not None:
        return Refusal(RejectCode.ATTEMPT_INTERRUPTED, looked_at=f"given up before: {tombstone[0]}")
    if now > attempt.expires_utc:
        late_ms = (now - attempt.expires_utc) / MS
        return Refusal(RejectCode.DEADLINE_PASSED, late_ms, 0, "expires_utc of the request, in ms")
    locked = db.execute("SELECT locked_why FROM day WHERE session = ?", (attempt.session.isoformat(),)).fetchone()
    if locked is not None and locked[0] is not None:
        return Refusal(RejectCode.DAY_LOCKED, looked_at=str(locked[0]))
    return _refusal_by_watermark(db, attempt.intent.key) or _refusal_by_counts(db, attempt)


def _refusal_by_watermark(db: sqlite3.Connection, key: AlertKey) -> Refusal | None:
    if _has_gate_row(db, key.alert_id):
        return Refusal(RejectCode.DUPLICATE_ALERT, looked_at=f"gate row of {key.alert_id}")
    mark = db.execute(
        "SELECT bucket_utc, alert_id FROM watermarks WHERE source = ? AND ticker = ? AND kind = ? AND version = ?",
        (key.source, key.ticker, key.kind, key.version),
    ).fetchone()
    if mark is not None and mark[0] > key.bucket_utc:
        return Refusal(RejectCode.DUPLICATE_ALERT, key.bucket_utc, mark[0], f"watermark of {mark[1]}")
    return None


def _refusal_by_counts(db: sqlite3.Connection, attempt: entries.ReserveEntry) -> Refusal | None:
    intent, limits = attempt.intent, attempt.limits
    trades = _count(
        db, "session = ? AND strategy = ? AND state NOT IN ('RELEASED', 'ABANDONED')",
        (attempt.session.isoformat(), intent.strategy),
    )  # fmt: skip
    if trades >= limits.trades_per_day_max:
        looked_at = "reservations of the session and strategy"
        return Refusal(RejectCode.MAX_TRADES, trades, limits.trades_per_day_max, looked_at)
    against = _count(db, f"{LIVE} AND ticker = ? AND direction = ?", (intent.ticker, -intent.direction))
    if against:
        return Refusal(RejectCode.REVERSE_WITHOUT_FLAT, against, 0, "live reservations of the other direction")
    of_strategy = _count(db, f"{LIVE} AND strategy = ?", (intent.strategy,))
    if limits.one_position_only and of_strategy:
        return Refusal(RejectCode.ONE_POSITION_ONLY, of_strategy, 1, "live reservations of the strategy")
    held = _count(db, LIVE, ())
    if held >= limits.positions_max:
        return Refusal(RejectCode.MAX_POSITIONS, held, limits.positions_max, "live reservations")
    of_ticker = _count(db, f"{LIVE} AND ticker = ?", (intent.ticker,))
    if of_ticker >= limits.positions_per_ticker_max:
        looked_at = "live reservations of the ticker"
        return Refusal(RejectCode.TICKER_LIMIT, of_ticker, limits.positions_per_ticker_max, looked_at)
    return None


def _count(db: sqlite3.Connection, where: str, values: rows.Values) -> int:
    """Count intents, not legs: a structure is one position and one trade."""
    return rows.number(db, f"SELECT count(DISTINCT intent_id) FROM reservations WHERE {where}", values)


def _has_gate_row(db: sqlite3.Connection, alert_id: str) -> bool:
    return rows.exists(db, "SELECT 1 FROM gate_log WHERE alert_id = ? LIMIT 1", (alert_id,))


# -- writing --------------------------------------------------------------------------------------


def _structure_of(attempt: entries.ReserveEntry) -> str | None:
    """Return what ties the legs of a structure together; `None` for a single leg."""
    return attempt.intent.intent_id if len(attempt.legs) > 1 else None


def _insert_legs(
    db: sqlite3.Connection, attempt: entries.ReserveEntry, desk: str, run_n: int, now: Utc
) -> Refusal | None:
    db.execute("SAVEPOINT legs")
    try:
        for n, leg in enumerate(attempt.legs):
            _insert_leg(db, attempt, leg, n, desk, run_n, now)
    except sqlite3.IntegrityError:
        db.execute("ROLLBACK TO legs")
        held = ", ".join(leg.contract.label for leg in attempt.legs)
        return Refusal(RejectCode.DUPLICATE_POSITION, looked_at=f"live holders of {held}")
    finally:
        db.execute("RELEASE legs")
    return None


def _insert_leg(
    db: sqlite3.Connection, attempt: entries.ReserveEntry, leg: OrderLeg, n: int, desk: str, run_n: int, now: Utc
) -> None:
    intent, key, contract, decision = attempt.intent, attempt.intent.key, leg.contract, leg.decision
    structure_id = _structure_of(attempt)
    db.execute(
        "INSERT INTO reservations (intent_id, leg, desk, structure_id, alert_id, source, strategy, ticker, kind,"
        " version, is_shadow, direction, bucket_utc, session, con_id, underlying, trading_class, expiry, strike_ticks,"
        " right, multiplier, side, qty, limit_ticks, decision_bid_ticks, decision_ask_ticks, decision_spot_ticks,"
        " order_ref, deadline_utc, decided_utc, run_n, state, reserved_utc)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,'PENDING_ENTRY',?)",
        (
            intent.intent_id, n, desk, structure_id, key.alert_id, key.source, intent.strategy, key.ticker, key.kind,
            key.version, intent.is_shadow, intent.direction, key.bucket_utc, attempt.session.isoformat(),
            contract.con_id, contract.ticker, contract.trading_class, contract.expiry.isoformat(),
            contract.strike_ticks, contract.right.value, contract.multiplier, leg.side.value, leg.qty, leg.limit_ticks,
            decision and decision.bid_ticks, decision and decision.ask_ticks, decision and decision.spot_ticks,
            leg.order_ref, attempt.deadline_utc, attempt.decided_utc, run_n, now,
        ),
    )  # fmt: skip
    db.execute(
        "INSERT INTO orders (order_ref, desk, intent_id, leg, structure_id, con_id, is_exit, side, qty, limit_ticks,"
        " status, run_n, at_utc, changed_utc) VALUES (?,?,?,?,?,?,0,?,?,?,'intended',?,?,?)",
        (
            leg.order_ref, desk, intent.intent_id, n, structure_id, contract.con_id, leg.side.value, leg.qty,
            leg.limit_ticks, run_n, now, now,
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class _GateRow:
    """One attempt: `code` is `None` where it was accepted; its last refusing verdict gives the deciding measure."""

    desk: str
    session: str
    key: AlertKey
    strategy: str
    code: RejectCode | None
    verdicts: tuple[Verdict, ...]
    decided_utc: Utc
    intent_id: str | None = None
    structure_id: str | None = None

    @property
    def deciding(self) -> tuple[str | None, float | None, float | None, str, str]:
        """Gate, measure, limit, unit, and what it looked at."""
        refusing = (verdict for verdict in reversed(self.verdicts) if verdict.is_reject)
        verdict = next(refusing, None) if self.code is not None else None
        if verdict is None:
            return None, None, None, "", ""
        found = verdict.finding
        return verdict.gate, found.measured, found.limit, found.unit, found.looked_at


def _write_gate_row(db: sqlite3.Connection, row: _GateRow) -> None:
    key = row.key
    db.execute(
        "INSERT INTO gate_log (desk, session, alert_id, intent_id, structure_id, source, strategy, ticker, kind,"
        " version, is_shadow, bucket_utc, code, gate, measured, limit_value, unit, looked_at, verdicts, decided_utc)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
        (
            row.desk, row.session, key.alert_id, row.intent_id, row.structure_id, key.source, row.strategy, key.ticker,
            key.kind, key.version, row.code is RejectCode.SHADOW_SIGNAL, key.bucket_utc, row.code and row.code.value,
            *row.deciding, _ENCODE(row.verdicts).decode(), row.decided_utc,
        ),
    )  # fmt: skip


def _raise_watermark(db: sqlite3.Connection, key: AlertKey) -> None:
    db.execute(
        "INSERT INTO watermarks (source, ticker, kind, version, bucket_utc, alert_id) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT DO UPDATE SET bucket_utc = excluded.bucket_utc, alert_id = excluded.alert_id"
        " WHERE excluded.bucket_utc > watermarks.bucket_utc",
        (key.source, key.ticker, key.kind, key.version, key.bucket_utc, key.alert_id),
    )
