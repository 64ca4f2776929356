"""The shared ledger: kill level, alerts, promotions, operator commands and runs, one writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from messages import lifecycle, operator, risk, signals
from messages.base import Message
from storage.ledger_schema import DESK, SHARED, SHARED_OWNER
from storage.sqlite_file import open_file, open_reader, transaction

FILE = "ledger.db"
_EPOCH_UNKNOWN = 1 << 40  # above every epoch that can have been given out: no old permit outlives it
_ENCODE = msgspec.json.Encoder().encode

Facts = tuple[Message, ...]


def start_run(folder: Path, at_utc: int) -> int:
    """Count a start of the supervisor and give its number, durably.

    Raises:
        LedgerRefusedError: the shared ledger cannot be used.
    """
    db = open_file(folder / FILE, SHARED, SHARED_OWNER)
    try:
        with transaction(db):
            return int(db.execute("INSERT INTO runs (started_utc) VALUES (?)", (at_utc,)).lastrowid or 0)
    finally:
        db.close()


def promote(folder: Path, kinds: Iterable[str], source: str, by: str, reason: str, at_utc: int) -> None:
    """Write audited promotions of alert kinds, each as `KIND-version`; a promoted kind stays as it is.

    Raises:
        LedgerRefusedError: the shared ledger cannot be used.
        ValueError: not of the form `KIND-version`.
    """
    db = open_file(folder / FILE, SHARED, SHARED_OWNER)
    try:
        with transaction(db):
            promoted = _promoted(db, source)
            for name in kinds:
                kind, _, version = name.rpartition("-")
                if name not in promoted:
                    db.execute(
                        "INSERT INTO promotions VALUES (?,?,?,1,?,?,?)",
                        (source, kind, int(version), by, reason, at_utc),
                    )
    finally:
        db.close()


class SharedLedger:
    """The `LedgerStore` of `ledger.db`; what it returns was committed.

    Args:
        folder: the data folder.
        desks: the desks whose gate logs tell which alerts were decided on.
        is_durable: False leaves out every fsync (simulated days that nobody resumes).
    """

    def __init__(self, folder: Path, desks: tuple[str, ...], *, is_durable: bool = True) -> None:
        self._folder = folder
        self._desks = desks
        self._is_durable = is_durable
        self._open_db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open `ledger.db`, creating or migrating it.

        Raises:
            LedgerRefusedError: unreadable, not ours, or of a newer version.
        """
        self.close()
        self._open_db = open_file(self._folder / FILE, SHARED, SHARED_OWNER, is_durable=self._is_durable)

    def close(self) -> None:
        """Release the file."""
        if self._open_db is not None:
            self._open_db.close()
            self._open_db = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open_db is None:
            raise RuntimeError("the ledger is not open")
        return self._open_db

    def apply(self, message: Message, now: int) -> Facts:
        """Carry out one message in one transaction; its facts hold once this returns.

        Raises:
            TypeError: no message for the shared ledger.
        """
        if isinstance(message, lifecycle.ReadState):
            restored = self._restored_for(message)
            return (lifecycle.StateRead(name=message.name, restored=restored, read_n=message.read_n),)
        with transaction(self._db):
            return self._written(message, now)

    def _written(self, message: Message, now: int) -> Facts:
        match message:
            case signals.RecordAlert():
                return (self._record_alert(message, now),)
            case risk.RecordKill():
                return (self._record_kill(message),)
            case operator.RecordCommand():
                self._db.execute(
                    "INSERT INTO commands VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET outcome = excluded.outcome",
                    (message.command_id, message.name, message.by, message.reason, message.outcome, message.at_utc),
                )
            case _:
                raise TypeError(f"{type(message).__name__} is no message for the shared ledger")
        return ()

    def _record_alert(self, alert: signals.RecordAlert, now: int) -> signals.AlertRecorded:
        written = self._db.execute(
            "INSERT INTO alerts (alert_id, session, source, ticker, kind, version, bucket_utc, direction, entry_ticks,"
            " target_ticks, stop_ticks, horizon_ms, features, forces, alignment, thresholds, is_shadow, raised_utc,"
            " recorded_utc) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (
                alert.alert_id, alert.session.isoformat(), alert.source, alert.ticker, alert.kind, alert.version,
                alert.bucket_utc, alert.direction, alert.entry_ticks, alert.target_ticks, alert.stop_ticks,
                alert.horizon_ms, _ENCODE(alert.features).decode(), _ENCODE(alert.forces).decode(), alert.alignment,
                _ENCODE(alert.thresholds).decode(), alert.is_shadow, alert.raised_utc, now,
            ),
        )  # fmt: skip
        return signals.AlertRecorded(alert_id=alert.alert_id, is_new=written.rowcount == 1)

    def _record_kill(self, kill: risk.RecordKill) -> risk.KillRecorded:
        """Keep one row per epoch; should two say one epoch, the higher level stands."""
        self._db.execute(
            "INSERT INTO kill VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET level = excluded.level,"
            " reason = excluded.reason, by = excluded.by, at_utc = excluded.at_utc WHERE excluded.level > kill.level",
            (kill.kill_epoch, kill.level, kill.reason, kill.by, kill.at_utc),
        )
        return risk.KillRecorded(kill_epoch=kill.kill_epoch)

    def _restored_for(self, asked: lifecycle.ReadState) -> lifecycle.Restored | None:
        match asked.name.split(":"):
            case ["kill"]:
                return self._kill()
            case ["lane", source, ticker]:
                return self._lane(asked.session.isoformat(), source, ticker)
        return None

    def _kill(self) -> lifecycle.KillRestored:
        """Give the level in force; a ledger that cannot be read means level 1."""
        try:
            row = self._db.execute(
                "SELECT level, kill_epoch, reason, by FROM kill ORDER BY kill_epoch DESC LIMIT 1"
            ).fetchone()
        except sqlite3.Error as error:
            why = f"The shared ledger cannot be read ({error})."
            return lifecycle.KillRestored(level=1, kill_epoch=_EPOCH_UNKNOWN, reason=why, by="ledger")
        if row is None:
            return lifecycle.KillRestored(level=0, kill_epoch=0, reason="", by="")
        return lifecycle.KillRestored(level=row[0], kill_epoch=row[1], reason=row[2], by=row[3])

    def _lane(self, session: str, source: str, ticker: str) -> lifecycle.LaneRestored:
        rows = self._db.execute(
            "SELECT alert_id, kind, version, ticker, direction, bucket_utc, is_shadow, raised_utc FROM alerts"
            " WHERE session = ? AND source = ? AND ticker = ? ORDER BY raised_utc, alert_id",
            (session, source, ticker),
        ).fetchall()
        decided = self._decided(session)
        return lifecycle.LaneRestored(
            last_alert_utc=rows[-1][7] if rows else None,
            last_direction=rows[-1][4] if rows else None,
            unraised=tuple(
                lifecycle.UnraisedAlert(
                    alert_id=row[0], kind=row[1], version=row[2], ticker=row[3], direction=row[4], bucket_utc=row[5],
                    is_shadow=bool(row[6]), raised_utc=row[7],
                )
                for row in rows
                if row[0] not in decided
            ),
            promoted=tuple(sorted(_promoted(self._db, source))),
        )  # fmt: skip

    def _decided(self, session: str) -> set[str]:
        """Collect the alerts that have a gate row on any desk."""
        found: set[str] = set()
        for desk in self._desks:
            db = open_reader(self._folder / f"{desk}.db", DESK)
            if db is not None:
                rows = db.execute("SELECT alert_id FROM gate_log WHERE session = ?", (session,)).fetchall()
                found.update(row[0] for row in rows)
                db.close()
        return found


def _promoted(db: sqlite3.Connection, source: str) -> set[str]:
    """Give what is promoted of a source as `KIND-version`: the newest word on each counts."""
    rows = db.execute(
        "SELECT kind, version, is_promoted, max(at_utc) FROM promotions WHERE source = ? GROUP BY kind, version",
        (source,),
    ).fetchall()
    return {f"{kind}-{version}" for kind, version, is_promoted, _ in rows if is_promoted}
