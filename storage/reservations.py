"""Reservations and gate rows: what a desk's ledger re-checks and writes for one entry attempt, in one transaction."""

from __future__ import annotations

import sqlite3

import msgspec

from domain.instants import MS
from domain.orders.intent import OrderLeg, leg_direction
from domain.risk.gates.sequence import RESERVATION
from domain.risk.gates.types import Finding, Verdict, refused
from domain.risk.reject import RejectCode
from domain.signals.alert import AlertKey
from domain.units import Utc
from messages import entries, orders
from storage import order_rows, rows, structure_rows
from storage.ledger_schema import IS_TRADE, LIVE, ReservationState

_ENCODE = msgspec.json.Encoder().encode


Answer = entries.EntryReserved | entries.EntryRefused


def reserve(db: sqlite3.Connection, attempt: entries.ReserveEntry, desk: str, run_n: int, now: Utc) -> Answer:
    """Reserve the legs inside the caller's transaction, or refuse; either way with gate row and watermark.

    A request that comes again is answered as it was the first time, and nothing is written.
    """
    found = _look(db, attempt)
    if found.is_decided and (earlier := _earlier_answer(db, attempt)) is not None:
        return earlier
    finding = _refusal_of(db, found, attempt, now) or _insert_legs(db, attempt, desk, run_n, now)
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


def record_slice(
    db: sqlite3.Connection, slice_: orders.RecordSlice, desk: str, run_n: int, now: Utc
) -> tuple[orders.SliceRecorded, ...]:
    """Keep the order of a slice with its live reservation; nothing is told of one whose reservation is over.

    Nor of one that is kept already: a slice is sent once. It needs the reservation of this run, as no entry is sent
    again after a restart.
    """
    holder = rows.first_row(
        db, _Reserved,
        f"SELECT {rows.columns_of(_Reserved)} FROM reservations"
        f" WHERE intent_id = ? AND con_id = ? AND run_n = ? AND {LIVE}",
        (slice_.intent_id, slice_.con_id, run_n),
    )  # fmt: skip
    if holder is None:
        return ()
    is_new = rows.insert(
        db,
        "orders",
        {
            "order_ref": slice_.order_ref,
            "desk": desk,
            "intent_id": slice_.intent_id,
            "leg": holder.leg,
            "structure_id": holder.structure_id,
            "con_id": slice_.con_id,
            "is_exit": False,
            "side": slice_.side.value,
            "qty": slice_.qty,
            "limit_ticks": slice_.limit_ticks,
            "status": "intended",
            "run_n": run_n,
            "at_utc": slice_.at_utc,
            "changed_utc": now,
            "changed_why": f"slice {slice_.n} of {slice_.slices}",
        },
        "ON CONFLICT DO NOTHING",
    )
    return (orders.SliceRecorded(order_ref=slice_.order_ref),) if is_new else ()


class _Reserved(rows.Row, frozen=True):
    """The reserved leg that a slice belongs to."""

    leg: int
    structure_id: str | None


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
    order_rows.end_released(db, message.intent_id, message.reason, now)
    structure_rows.release(db, message.intent_id, now)


def abandon(db: sqlite3.Connection, intent_id: str, con_id: int, why: str, now: Utc) -> None:
    """End one leg whose entry filled nothing; a leg with fills stays held."""
    ended = db.execute(
        "UPDATE reservations SET state = 'ABANDONED', ended_why = ?, ended_utc = ?"
        " WHERE intent_id = ? AND con_id = ? AND state = 'PENDING_ENTRY'",
        (why, now, intent_id, con_id),
    )
    if ended.rowcount:
        order_rows.end_all(db, intent_id, con_id, why, now)


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


def refusal_records(
    attempt: entries.ReserveEntry, finding: Finding
) -> tuple[entries.ReleaseReservation | entries.RecordDenial, ...]:
    """Return what is to be kept of an attempt that was refused before it came to the file.

    The tombstone comes first: should the attempt be on record after all, nothing is held by it any more.
    """
    intent, code = attempt.intent, finding.code
    assert code is not None
    return (
        entries.ReleaseReservation(intent_id=intent.intent_id, reason=finding.looked_at),
        entries.RecordDenial(
            key=intent.key, strategy=intent.strategy, session=attempt.session,
            verdicts=(*attempt.verdicts, Verdict(RESERVATION, finding)), code=code, decided_utc=attempt.decided_utc,
        ),
    )  # fmt: skip


def amend(db: sqlite3.Connection, message: entries.EntryAmended) -> None:
    """Add to an accepted attempt's row why it came to nothing after all; the first reason stands."""
    db.execute(
        "UPDATE gate_log SET amended_code = :code, amended_words = :words, amended_utc = :at_utc WHERE n = ("
        " SELECT max(n) FROM gate_log WHERE intent_id = :intent_id AND alert_id = :alert_id AND code IS NULL)"
        " AND amended_code IS NULL",
        {
            "code": message.code.value,
            "words": message.words,
            "at_utc": message.at_utc,
            "intent_id": message.intent_id,
            "alert_id": message.key.alert_id,
        },
    )


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


class _Found(rows.Row, frozen=True):
    """What an attempt is checked against but for what is live, read at once.

    `trades` counts intents; 0 where all reservations that ever were are fewer than it may have.
    """

    given_up_why: str | None
    locked_why: str | None
    is_decided: bool
    mark_utc: Utc | None
    mark_alert_id: str | None
    trades: int


_LOOK = f"""
SELECT
  (SELECT reason FROM tombstones WHERE intent_id = :intent_id),
  (SELECT locked_why FROM day WHERE session = :session),
  EXISTS (SELECT 1 FROM gate_log WHERE alert_id = :alert_id),
  mark.bucket_utc, mark.alert_id,
  iif((SELECT ifnull(max(rowid), 0) FROM reservations) < :trades_max, 0,
    (SELECT count(DISTINCT intent_id) FROM reservations
      WHERE session = :session AND strategy = :strategy AND {IS_TRADE}))
FROM (SELECT 1) LEFT JOIN watermarks mark
  ON (mark.source, mark.ticker, mark.kind, mark.version) = (:source, :ticker, :kind, :version)
"""
# A pending or held intent in one underlying: intent (a structure is one in several), ticker, direction, strategy.
_Live = tuple[str, str, int, str]
# A contract that expired before the session holds nothing back: its position is settled, not traded.
_LIVE_NOW = (
    "SELECT DISTINCT intent_id, underlying, direction, strategy FROM reservations INDEXED BY one_live_holder"
    f" WHERE {LIVE} AND expiry >= ?"
)


def _look(db: sqlite3.Connection, attempt: entries.ReserveEntry) -> _Found:
    intent, key = attempt.intent, attempt.intent.key
    found = rows.first_row(
        db,
        _Found,
        _LOOK,
        {
            "intent_id": intent.intent_id,
            "session": attempt.session.isoformat(),
            "alert_id": key.alert_id,
            "source": key.source,
            "ticker": key.ticker,
            "kind": key.kind,
            "version": key.version,
            "strategy": intent.strategy,
            "trades_max": attempt.limits.trades_per_day_max,
        },
    )
    assert found is not None
    return found


def _refusal_of(db: sqlite3.Connection, found: _Found, attempt: entries.ReserveEntry, now: Utc) -> Finding | None:
    """Check again; the order is that of the reservation's `other_codes`."""
    if found.given_up_why is not None:
        return refused(RejectCode.ATTEMPT_INTERRUPTED, looked_at=f"given up before: {found.given_up_why}")
    if now > attempt.expires_utc:
        late_ms = (now - attempt.expires_utc) / MS
        return refused(RejectCode.DEADLINE_PASSED, late_ms, 0, "ms", "expires_utc of the request")
    if found.locked_why is not None:
        return refused(RejectCode.DAY_LOCKED, looked_at=found.locked_why)
    key = attempt.intent.key
    if found.is_decided:
        return refused(RejectCode.DUPLICATE_ALERT, looked_at=f"gate row of {key.alert_id}")
    if found.mark_utc is not None and found.mark_utc > key.bucket_utc:
        looked_at = f"watermark of {found.mark_alert_id}"
        return refused(RejectCode.DUPLICATE_ALERT, key.bucket_utc, found.mark_utc, "UTC ns", looked_at)
    return _refusal_by_counts(db, found, attempt)


def _refusal_by_counts(db: sqlite3.Connection, found: _Found, attempt: entries.ReserveEntry) -> Finding | None:
    intent, limits = attempt.intent, attempt.limits
    if found.trades >= limits.trades_per_day_max:
        looked_at = "reservations of the session and strategy"
        return refused(RejectCode.MAX_TRADES, found.trades, limits.trades_per_day_max, "trades", looked_at)
    live: list[_Live] = db.execute(_LIVE_NOW, (attempt.session.isoformat(),)).fetchall()
    wanted = {(leg.contract.ticker, _direction_of(attempt, leg)) for leg in attempt.legs}
    against = sum([(ticker, -direction) in wanted for _, ticker, direction, _ in live])
    if against and limits.forbid_reverse_without_flat:
        looked_at = "live reservations of the other direction"
        return refused(RejectCode.REVERSE_WITHOUT_FLAT, against, 0, "positions", looked_at)
    held = {intent_id: strategy for intent_id, _, _, strategy in live}
    of_strategy = sum([strategy == intent.strategy for strategy in held.values()])
    if limits.one_position_only and of_strategy:
        return refused(RejectCode.ONE_POSITION_ONLY, of_strategy, 1, "positions", "live reservations of the strategy")
    if len(held) >= limits.positions_max:
        return refused(RejectCode.MAX_POSITIONS, len(held), limits.positions_max, "positions", "live reservations")
    of_ticker = max(len({intent_id for intent_id, of, _, _ in live if of == ticker}) for ticker, _ in wanted)
    if of_ticker >= limits.positions_per_ticker_max:
        looked_at = "live reservations of the ticker"
        return refused(RejectCode.TICKER_LIMIT, of_ticker, limits.positions_per_ticker_max, "positions", looked_at)
    return None


def _has_gate_row(db: sqlite3.Connection, alert_id: str) -> bool:
    return rows.exists(db, "SELECT 1 FROM gate_log WHERE alert_id = ? LIMIT 1", (alert_id,))


def _direction_of(attempt: entries.ReserveEntry, leg: OrderLeg) -> int:
    """Return the direction of a leg: the intent's, of a structure each leg's own."""
    direction = attempt.intent.direction
    return direction if len(attempt.legs) == 1 else leg_direction(direction, leg.side, leg.contract.right)


# -- writing --------------------------------------------------------------------------------------


def _structure_of(attempt: entries.ReserveEntry) -> str | None:
    """Return what ties the legs of a structure together; `None` for a single leg."""
    return attempt.intent.intent_id if len(attempt.legs) > 1 else None


def _insert_legs(
    db: sqlite3.Connection, attempt: entries.ReserveEntry, desk: str, run_n: int, now: Utc
) -> Finding | None:
    if len(attempt.legs) == 1:  # its first statement meets a holder, before anything is written
        return _insert_only_leg(db, attempt, desk, run_n, now)
    db.execute("SAVEPOINT legs")
    try:
        for n, leg in enumerate(attempt.legs):
            _insert_leg(db, attempt, leg, n, desk, run_n, now)
        structure_rows.insert(db, attempt, desk, now)
    except sqlite3.IntegrityError:
        db.execute("ROLLBACK TO legs")
        return _held(attempt)
    finally:
        db.execute("RELEASE legs")
    return None


def _insert_only_leg(
    db: sqlite3.Connection, attempt: entries.ReserveEntry, desk: str, run_n: int, now: Utc
) -> Finding | None:
    (leg,) = attempt.legs
    try:
        _insert_reservation(db, attempt, leg, 0, desk, run_n, now)
    except sqlite3.IntegrityError:
        return _held(attempt)
    _insert_order(db, attempt, leg, 0, desk, run_n, now)
    return None


def _held(attempt: entries.ReserveEntry) -> Finding:
    held = ", ".join(leg.contract.label for leg in attempt.legs)
    return refused(RejectCode.DUPLICATE_POSITION, looked_at=f"live holders of {held}")


def _insert_leg(
    db: sqlite3.Connection, attempt: entries.ReserveEntry, leg: OrderLeg, n: int, desk: str, run_n: int, now: Utc
) -> None:
    _insert_reservation(db, attempt, leg, n, desk, run_n, now)
    _insert_order(db, attempt, leg, n, desk, run_n, now)


def _insert_reservation(
    db: sqlite3.Connection, attempt: entries.ReserveEntry, leg: OrderLeg, n: int, desk: str, run_n: int, now: Utc
) -> None:
    intent, key, contract, decision = attempt.intent, attempt.intent.key, leg.contract, leg.decision
    rows.insert(
        db,
        "reservations",
        {
            "intent_id": intent.intent_id,
            "leg": n,
            "desk": desk,
            "structure_id": _structure_of(attempt),
            "alert_id": key.alert_id,
            "source": key.source,
            "strategy": intent.strategy,
            "ticker": key.ticker,
            "kind": key.kind,
            "version": key.version,
            "is_shadow": intent.is_shadow,
            "direction": _direction_of(attempt, leg),
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


def _insert_order(
    db: sqlite3.Connection, attempt: entries.ReserveEntry, leg: OrderLeg, n: int, desk: str, run_n: int, now: Utc
) -> None:
    rows.insert(
        db,
        "orders",
        {
            "order_ref": leg.order_ref,
            "desk": desk,
            "intent_id": attempt.intent.intent_id,
            "leg": n,
            "structure_id": _structure_of(attempt),
            "con_id": leg.contract.con_id,
            "is_exit": False,
            "side": leg.side.value,
            "qty": leg.qty if attempt.first_qty is None else attempt.first_qty,
            "limit_ticks": leg.limit_ticks,
            "status": "intended",
            "run_n": run_n,
            "at_utc": now,
            "changed_utc": now,
            "changed_why": _as_one(attempt),
            "combo_ref": attempt.legs[0].order_ref if attempt.is_combo else None,
        },
    )


def _as_one(attempt: entries.ReserveEntry) -> str:
    """Return what the history of a leg's order says where it goes out with the others as one; else nothing."""
    return f"one order with {', '.join(leg.contract.label for leg in attempt.legs)}" if attempt.is_combo else ""


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
