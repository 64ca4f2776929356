"""Reservations and gate rows: what a desk's ledger re-checks and writes for one entry attempt, in one transaction."""

from __future__ import annotations

import sqlite3

import msgspec

from domain.instants import MS
from domain.orders.intent import OrderLeg
from domain.risk.gates.sequence import RESERVATION
from domain.risk.gates.types import Finding, Verdict, refused
from domain.risk.reject import RejectCode
from domain.signals.alert import AlertKey
from domain.units import Utc
from messages import entries
from storage import rows
from storage.ledger_schema import LIVE, ReservationState

_ENCODE = msgspec.json.Encoder().encode


Answer = entries.EntryReserved | entries.EntryRefused


def reserve(db: sqlite3.Connection, attempt: entries.ReserveEntry, desk: str, run_n: int, now: Utc) -> Answer:
    """Reserve the legs inside the caller's transaction, or refuse; either way with gate row and watermark.

    A request that comes again is answered as it was the first time, and nothing is written.
    """
    earlier = _earlier_answer(db, attempt)
    if earlier is not None:
        return earlier
    finding = _refusal_of(db, attempt, now) or _insert_legs(db, attempt, desk, run_n, now)
    intent = attempt.intent
    _write_gate_row(
        db,
        _GateRow(
            desk=desk,
            session=attempt.session.isoformat(),
            key=intent.key,
            strategy=intent.strategy,
            code=None if finding is None else finding.code,
            verdicts=attempt.verdicts if finding is None else (*attempt.verdicts, Verdict(RESERVATION, finding)),
            decided_utc=attempt.decided_utc,
            intent_id=intent.intent_id,
            structure_id=_structure_of(attempt),
        ),
    )
    _raise_watermark(db, intent.key)
    return _answer(intent.intent_id, finding)


def _answer(intent_id: str, finding: Finding | None) -> Answer:
    if finding is None:
        return entries.EntryReserved(intent_id=intent_id)
    return entries.EntryRefused(intent_id=intent_id, finding=finding)


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
            desk=desk,
            session=denial.session.isoformat(),
            key=denial.key,
            strategy=denial.strategy,
            code=denial.code,
            verdicts=denial.verdicts,
            decided_utc=denial.decided_utc,
        ),
    )
    _raise_watermark(db, denial.key)


# -- a request that comes again -------------------------------------------------------------------


class _GivenAnswer(rows.Row, frozen=True):
    """What a request's gate row says; `code` is `None` where it was accepted."""

    code: RejectCode | None
    measured: float | None
    limit_value: float | None
    unit: str
    looked_at: str


def _earlier_answer(db: sqlite3.Connection, attempt: entries.ReserveEntry) -> Answer | None:
    """Return what this very request was answered; `None` for a new one.

    The same intent decided on at another instant is another attempt: a second yes would hand it over twice. Nor is a
    yes repeated once its reservation has ended or was released: that request is checked like a new one.
    """
    intent_id = attempt.intent.intent_id
    given = rows.first_row(
        db,
        _GivenAnswer,
        f"SELECT {rows.columns_of(_GivenAnswer)} FROM gate_log WHERE alert_id = :alert_id"
        " AND decided_utc = :decided_utc AND intent_id = :intent_id ORDER BY n DESC LIMIT 1",
        {"alert_id": attempt.intent.alert_id, "decided_utc": attempt.decided_utc, "intent_id": intent_id},
    )
    if given is None:
        return None
    if given.code is not None:
        finding = refused(given.code, given.measured, given.limit_value, given.unit, given.looked_at)
        return _answer(intent_id, finding)
    stands = rows.exists(
        db,
        f"SELECT 1 FROM reservations WHERE intent_id = :intent_id AND {LIVE}"
        " AND intent_id NOT IN (SELECT intent_id FROM tombstones)",
        {"intent_id": intent_id},
    )
    return _answer(intent_id, None) if stands else None


# -- what others may have changed since the gates looked ------------------------------------------


def _refusal_of(db: sqlite3.Connection, attempt: entries.ReserveEntry, now: Utc) -> Finding | None:
    """Check again; the order is that of the reservation's `other_codes`."""
    tombstone = db.execute(
        "SELECT reason FROM tombstones WHERE intent_id = ?", (attempt.intent.intent_id,)
    ).fetchone()  # fmt: skip
    if tombstone is not None:
        return refused(RejectCode.ATTEMPT_INTERRUPTED, looked_at=f"given up before: {tombstone[0]}")
    if now > attempt.expires_utc:
        late_ms = (now - attempt.expires_utc) / MS
        return refused(RejectCode.DEADLINE_PASSED, late_ms, 0, "ms", "expires_utc of the request")
    locked = db.execute("SELECT locked_why FROM day WHERE session = ?", (attempt.session.isoformat(),)).fetchone()
    if locked is not None and locked[0] is not None:
        return refused(RejectCode.DAY_LOCKED, looked_at=str(locked[0]))
    return _refusal_by_watermark(db, attempt.intent.key) or _refusal_by_counts(db, attempt)


def _refusal_by_watermark(db: sqlite3.Connection, key: AlertKey) -> Finding | None:
    if _has_gate_row(db, key.alert_id):
        return refused(RejectCode.DUPLICATE_ALERT, looked_at=f"gate row of {key.alert_id}")
    mark = db.execute(
        "SELECT bucket_utc, alert_id FROM watermarks WHERE source = ? AND ticker = ? AND kind = ? AND version = ?",
        (key.source, key.ticker, key.kind, key.version),
    ).fetchone()
    if mark is not None and mark[0] > key.bucket_utc:
        return refused(RejectCode.DUPLICATE_ALERT, key.bucket_utc, mark[0], "UTC ns", f"watermark of {mark[1]}")
    return None


def _refusal_by_counts(db: sqlite3.Connection, attempt: entries.ReserveEntry) -> Finding | None:
    intent, limits = attempt.intent, attempt.limits
    trades = _count(
        db, "session = ? AND strategy = ? AND state NOT IN ('RELEASED', 'ABANDONED')",
        (attempt.session.isoformat(), intent.strategy),
    )  # fmt: skip
    if trades >= limits.trades_per_day_max:
        looked_at = "reservations of the session and strategy"
        return refused(RejectCode.MAX_TRADES, trades, limits.trades_per_day_max, "trades", looked_at)
    against = _count(db, f"{LIVE} AND ticker = ? AND direction = ?", (intent.ticker, -intent.direction))
    if against:
        looked_at = "live reservations of the other direction"
        return refused(RejectCode.REVERSE_WITHOUT_FLAT, against, 0, "positions", looked_at)
    of_strategy = _count(db, f"{LIVE} AND strategy = ?", (intent.strategy,))
    if limits.one_position_only and of_strategy:
        return refused(RejectCode.ONE_POSITION_ONLY, of_strategy, 1, "positions", "live reservations of the strategy")
    held = _count(db, LIVE, ())
    if held >= limits.positions_max:
        return refused(RejectCode.MAX_POSITIONS, held, limits.positions_max, "positions", "live reservations")
    of_ticker = _count(db, f"{LIVE} AND ticker = ?", (intent.ticker,))
    if of_ticker >= limits.positions_per_ticker_max:
        looked_at = "live reservations of the ticker"
        return refused(RejectCode.TICKER_LIMIT, of_ticker, limits.positions_per_ticker_max, "positions", looked_at)
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
) -> Finding | None:
    db.execute("SAVEPOINT legs")
    try:
        for n, leg in enumerate(attempt.legs):
            _insert_leg(db, attempt, leg, n, desk, run_n, now)
    except sqlite3.IntegrityError:
        db.execute("ROLLBACK TO legs")
        held = ", ".join(leg.contract.label for leg in attempt.legs)
        return refused(RejectCode.DUPLICATE_POSITION, looked_at=f"live holders of {held}")
    finally:
        db.execute("RELEASE legs")
    return None


def _insert_leg(
    db: sqlite3.Connection, attempt: entries.ReserveEntry, leg: OrderLeg, n: int, desk: str, run_n: int, now: Utc
) -> None:
    intent, key, contract, decision = attempt.intent, attempt.intent.key, leg.contract, leg.decision
    structure_id = _structure_of(attempt)
    rows.insert(
        db,
        "reservations",
        {
            "intent_id": intent.intent_id,
            "leg": n,
            "desk": desk,
            "structure_id": structure_id,
            "alert_id": key.alert_id,
            "source": key.source,
            "strategy": intent.strategy,
            "ticker": key.ticker,
            "kind": key.kind,
            "version": key.version,
            "is_shadow": intent.is_shadow,
            "direction": intent.direction,
            "bucket_utc": key.bucket_utc,
            "session": attempt.session.isoformat(),
            "con_id": contract.con_id,
            "underlying": contract.ticker,
            "trading_class": contract.trading_class,
            "expiry": contract.expiry.isoformat(),
            "strike_ticks": contract.strike_ticks,
            "right": contract.right.value,
            "multiplier": contract.multiplier,
            "side": leg.side.value,
            "qty": leg.qty,
            "limit_ticks": leg.limit_ticks,
            "decision_bid_ticks": None if decision is None else decision.bid_ticks,
            "decision_ask_ticks": None if decision is None else decision.ask_ticks,
            "decision_spot_ticks": None if decision is None else decision.spot_ticks,
            "order_ref": leg.order_ref,
            "deadline_utc": attempt.deadline_utc,
            "decided_utc": attempt.decided_utc,
            "run_n": run_n,
            "state": ReservationState.PENDING_ENTRY.value,
            "reserved_utc": now,
        },
    )
    rows.insert(
        db,
        "orders",
        {
            "order_ref": leg.order_ref,
            "desk": desk,
            "intent_id": intent.intent_id,
            "leg": n,
            "structure_id": structure_id,
            "con_id": contract.con_id,
            "is_exit": False,
            "side": leg.side.value,
            "qty": leg.qty,
            "limit_ticks": leg.limit_ticks,
            "status": "intended",
            "run_n": run_n,
            "at_utc": now,
            "changed_utc": now,
        },
    )


class _GateRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt: `code` is `None` where it was accepted."""

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
    def deciding(self) -> Verdict | None:
        """The last verdict that refused; `None` where the attempt was accepted, or interrupted before any gate."""
        if self.code is None:
            return None
        return next((verdict for verdict in reversed(self.verdicts) if verdict.is_reject), None)


def _write_gate_row(db: sqlite3.Connection, row: _GateRow) -> None:
    key, deciding = row.key, row.deciding
    finding = None if deciding is None else deciding.finding
    rows.insert(
        db,
        "gate_log",
        {
            "desk": row.desk,
            "session": row.session,
            "alert_id": key.alert_id,
            "intent_id": row.intent_id,
            "structure_id": row.structure_id,
            "source": key.source,
            "strategy": row.strategy,
            "ticker": key.ticker,
            "kind": key.kind,
            "version": key.version,
            "is_shadow": row.code is RejectCode.SHADOW_SIGNAL,
            "bucket_utc": key.bucket_utc,
            "code": None if row.code is None else row.code.value,
            "gate": None if deciding is None else deciding.gate,
            "measured": None if finding is None else finding.measured,
            "limit_value": None if finding is None else finding.limit,
            "unit": "" if finding is None else finding.unit,
            "looked_at": "" if finding is None else finding.looked_at,
            "verdicts": _ENCODE(row.verdicts).decode(),
            "decided_utc": row.decided_utc,
        },
        # The row of this alert, instant and code stands already where a denial comes again after its COMMIT.
        "ON CONFLICT DO NOTHING",
    )


def _raise_watermark(db: sqlite3.Connection, key: AlertKey) -> None:
    rows.insert(
        db,
        "watermarks",
        {
            "source": key.source,
            "ticker": key.ticker,
            "kind": key.kind,
            "version": key.version,
            "bucket_utc": key.bucket_utc,
            "alert_id": key.alert_id,
        },
        "ON CONFLICT DO UPDATE SET bucket_utc = excluded.bucket_utc, alert_id = excluded.alert_id"
        " WHERE excluded.bucket_utc > watermarks.bucket_utc",
    )
