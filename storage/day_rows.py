"""The day's row in a desk's ledger: lock and start NAV are written once, the summary at the settlement routine."""

from __future__ import annotations

import sqlite3
from datetime import date

import msgspec
from msgspec.structs import replace

from domain.risk.day import DayStops
from domain.units import Cents
from messages import risk

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(DayStops).decode


def lock_day(db: sqlite3.Connection, lock: risk.LockDay, desk: str) -> risk.DayLocked:
    """Lock the day once; the first reason stands, and is returned."""
    day = lock.session.isoformat()
    _ensure(db, day, desk)
    db.execute(
        "UPDATE day SET locked_why = ?, locked_utc = ? WHERE session = ? AND locked_why IS NULL",
        (lock.reason, lock.at_utc, day),
    )
    (reason,) = db.execute("SELECT locked_why FROM day WHERE session = ?", (day,)).fetchone()
    return risk.DayLocked(session=lock.session, reason=str(reason))


def record_start_nav(db: sqlite3.Connection, nav: risk.RecordStartNav, desk: str) -> tuple[risk.StartNavRecorded, ...]:
    """Keep the start NAV once; the first one stands, and is returned. One of 0 or less is unknown, and is not kept."""
    if nav.nav_cents <= 0:
        return ()
    day = nav.session.isoformat()
    _ensure(db, day, desk)
    db.execute(
        "UPDATE day SET start_nav_cents = ?, start_nav_utc = ? WHERE session = ? AND start_nav_cents IS NULL",
        (nav.nav_cents, nav.at_utc, day),
    )
    (cents,) = db.execute("SELECT start_nav_cents FROM day WHERE session = ?", (day,)).fetchone()
    return (risk.StartNavRecorded(session=nav.session, nav_cents=Cents(cents)),)


def record_stops(db: sqlite3.Connection, message: risk.RecordDayStops, desk: str) -> None:
    """Keep the day's latches and its best P&L; the newest evaluation stands, and a latch that was set stays set."""
    session = message.session.isoformat()
    _ensure(db, session, desk)
    known = stops_of(db, message.session)
    stops = replace(
        message.stops,
        is_hard=message.stops.is_hard or known.is_hard,
        is_soft=message.stops.is_soft or known.is_soft,
        peak_cents=max(message.stops.peak_cents, known.peak_cents),
        drawdown_cents=max(message.stops.drawdown_cents, known.drawdown_cents),
    )
    db.execute("UPDATE day SET stops = ? WHERE session = ?", (_ENCODE(stops).decode(), session))


def stops_of(db: sqlite3.Connection, session: date) -> DayStops:
    """Return the stops that were kept of a day; those of a day without an evaluation where none were."""
    row = db.execute("SELECT stops FROM day WHERE session = ?", (session.isoformat(),)).fetchone()
    return DayStops() if row is None or row[0] is None else _DECODE(row[0])


def record_day(db: sqlite3.Connection, day: risk.RecordDay, desk: str) -> None:
    """Write the day's summary; a later one replaces it."""
    session, summary = day.session.isoformat(), day.summary
    _ensure(db, session, desk)
    db.execute(
        "UPDATE day SET trades = :trades, wins = :wins, losses = :losses, realised_cents = :realised_cents,"
        " fees_cents = :fees_cents, drawdown_cents = :drawdown_cents, settled_utc = :at_utc WHERE session = :session",
        {
            "trades": summary.trades,
            "wins": summary.wins,
            "losses": summary.losses,
            "realised_cents": summary.realised_cents,
            "fees_cents": summary.fees_cents,
            "drawdown_cents": summary.drawdown_cents,
            "at_utc": day.at_utc,
            "session": session,
        },
    )


def _ensure(db: sqlite3.Connection, session: str, desk: str) -> None:
    db.execute("INSERT INTO day (session, desk) VALUES (?,?) ON CONFLICT DO NOTHING", (session, desk))
