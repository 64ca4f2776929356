"""Alerts and their outcomes as rows of the shared ledger: what is read back of them, and the outcome's own record."""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import Final

import msgspec

from domain.signals.alert import Alert, AlertKey
from domain.signals.outcome import Outcome, OutcomeState
from domain.units import Ticks, Utc
from messages import signals
from storage import rows

_OPEN_MAX: Final = 2_000  # alerts without an outcome that are taken up again at a start, the newest first
_ENCODE = msgspec.json.Encoder().encode


class AlertRow(rows.Row, frozen=True):
    """What identifies an alert and what it is followed by."""

    alert_id: str
    source: str
    ticker: str
    kind: str
    version: int
    bucket_utc: Utc
    direction: int
    entry_ticks: Ticks
    target_ticks: Ticks
    stop_ticks: Ticks
    horizon_ms: int
    is_shadow: bool
    raised_utc: Utc
    offer_id: str | None

    @property
    def alert(self) -> Alert:
        """The alert."""
        return Alert(
            key=AlertKey(
                source=self.source, ticker=self.ticker, kind=self.kind, version=self.version,
                bucket_utc=self.bucket_utc,
            ),
            direction=self.direction, entry_ticks=self.entry_ticks, target_ticks=self.target_ticks,
            stop_ticks=self.stop_ticks, horizon_ms=self.horizon_ms, is_shadow=self.is_shadow,
            raised_utc=self.raised_utc,
        )  # fmt: skip


def alert_of_offer(db: sqlite3.Connection, source: str, ticker: str, offer_id: str | None) -> str | None:
    """Return the alert that an offer became; `None`: it became none, or there is no offer."""
    found = db.execute(
        "SELECT alert_id FROM alerts WHERE (source, ticker, offer_id) = (?, ?, ?)", (source, ticker, offer_id)
    ).fetchone()
    return None if found is None else str(found[0])


class _OutcomeRow(rows.Row, frozen=True):
    """An outcome beside its alert."""

    state: OutcomeState
    end_utc: Utc
    seen_utc: Utc
    mfe_bps: float
    mae_bps: float
    target_ms: int | None
    stop_ms: int | None
    path_bps: str

    def outcome(self, alert: Alert) -> Outcome:
        return Outcome(
            alert=alert, end_utc=self.end_utc, seen_utc=self.seen_utc, state=self.state, mfe_bps=self.mfe_bps,
            mae_bps=self.mae_bps, target_ms=self.target_ms, stop_ms=self.stop_ms,
            path_bps=tuple(msgspec.json.decode(self.path_bps)),
        )  # fmt: skip


def insert_outcome(db: sqlite3.Connection, message: signals.RecordOutcome) -> None:
    """Keep what became of an alert; what was recorded first stands."""
    outcome = message.outcome
    rows.insert(
        db,
        "outcomes",
        {
            "alert_id": outcome.alert.key.alert_id,
            "state": outcome.state,
            "first": outcome.first,
            "end_utc": outcome.end_utc,
            "seen_utc": outcome.seen_utc,
            "mfe_bps": outcome.mfe_bps,
            "mae_bps": outcome.mae_bps,
            "mfe_stops": outcome.mfe_stops,
            "mae_stops": outcome.mae_stops,
            "target_ms": outcome.target_ms,
            "stop_ms": outcome.stop_ms,
            "path_bps": _ENCODE(outcome.path_bps).decode(),
            "recorded_utc": message.at_utc,
        },
        "ON CONFLICT DO NOTHING",
    )


def open_alerts(db: sqlite3.Connection) -> tuple[Alert, ...]:
    """Return the alerts of which no outcome is recorded, ascending; those of other sessions too."""
    found = rows.all_rows(
        db,
        AlertRow,
        f"SELECT {rows.columns_of(AlertRow)} FROM alerts"
        " WHERE alert_id NOT IN (SELECT alert_id FROM outcomes) ORDER BY raised_utc DESC, alert_id LIMIT ?",
        (_OPEN_MAX,),
    )
    return tuple(row.alert for row in reversed(found))


def outcomes_of(
    db: sqlite3.Connection, source: str | None = None, kind: str | None = None, version: int | None = None,
    session: date | None = None,
) -> tuple[Outcome, ...]:  # fmt: skip
    """Return the recorded outcomes by the time of their alerts: all, or those of a source, kind, version, session."""
    found = db.execute(
        f"SELECT {rows.columns_of(AlertRow, 'a')}, {rows.columns_of(_OutcomeRow, 'o')}"
        " FROM alerts a JOIN outcomes o USING (alert_id) WHERE ifnull(:source, source) = source"
        " AND ifnull(:kind, kind) = kind AND ifnull(:version, version) = version"
        " AND ifnull(:session, session) = session ORDER BY raised_utc, alert_id",
        {
            "source": source,
            "kind": kind,
            "version": version,
            "session": None if session is None else session.isoformat(),
        },
    )
    n = len(AlertRow.__struct_fields__)
    return tuple(
        msgspec.convert(row[n:], _OutcomeRow, strict=False).outcome(
            msgspec.convert(row[:n], AlertRow, strict=False).alert
        )
        for row in found
    )
