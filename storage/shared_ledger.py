"""The shared ledger: kill level, alerts, promotions, operator commands and runs, one writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import assert_never

import msgspec

from domain.risk.kill import KillLevel
from domain.signals.alert import Alert, AlertKey
from domain.units import Ticks, Utc
from messages import lifecycle, operator, risk, signals
from messages.ledgers import SharedFact, SharedInput
from messages.restored import KillRestored, LaneRestored, Restored
from storage import rows
from storage.ledger_schema import DESK, SHARED, SHARED_OWNER
from storage.sqlite_file import open_file, open_reader, transaction

FILE = "ledger.db"
_EPOCH_UNKNOWN = 1 << 40  # above every epoch that can have been given out: no old permit outlives it
_ENCODE = msgspec.json.Encoder().encode

Facts = tuple[SharedFact, ...]


def start_run(folder: Path, desks: Iterable[str], at_utc: Utc) -> int:
    """Bring every ledger to this version, count a start of the supervisor and return its number, durably.

    The desks' files are migrated here, too: other lanes and desks read them from the first message on.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    db = open_file(folder / FILE, SHARED, SHARED_OWNER)
    try:
        for desk in desks:
            open_file(folder / f"{desk}.db", DESK, desk).close()
        with transaction(db):
            return int(db.execute("INSERT INTO runs (started_utc) VALUES (?)", (at_utc,)).lastrowid or 0)
    finally:
        db.close()


def promote(folder: Path, kinds: Iterable[str], source: str, by: str, reason: str, at_utc: Utc) -> None:
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
                    rows.insert(
                        db,
                        "promotions",
                        {
                            "source": source,
                            "kind": kind,
                            "version": int(version),
                            "is_promoted": True,
                            "by": by,
                            "reason": reason,
                            "at_utc": at_utc,
                        },
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

    def apply(self, message: SharedInput, now: Utc) -> Facts:
        """Carry out one message in one transaction; its facts hold once this returns."""
        if isinstance(message, lifecycle.RequestState):
            restored = self._restored_for(message)
            return (lifecycle.StateRead(name=message.name, restored=restored, read_n=message.read_n),)
        with transaction(self._db):
            return self._written(message, now)

    def _written(self, message: SharedInput, now: Utc) -> Facts:
        match message:
            case signals.RecordAlert():
                return (self._record_alert(message, now),)
            case risk.RecordKill():
                return (self._record_kill(message),)
            case operator.RecordCommand():
                self._record_command(message)
            case lifecycle.RequestState():
                pass  # answered above: a question needs no transaction
            case _:
                assert_never(message)
        return ()

    def _record_alert(self, message: signals.RecordAlert, now: Utc) -> signals.AlertRecorded:
        alert, key = message.alert, message.alert.key
        is_new = rows.insert(
            self._db,
            "alerts",
            {
                "alert_id": key.alert_id,
                "session": key.session.isoformat(),
                "source": key.source,
                "ticker": key.ticker,
                "kind": key.kind,
                "version": key.version,
                "bucket_utc": key.bucket_utc,
                "direction": alert.direction,
                "entry_ticks": alert.entry_ticks,
                "target_ticks": alert.target_ticks,
                "stop_ticks": alert.stop_ticks,
                "horizon_ms": alert.horizon_ms,
                "features": _ENCODE(message.features).decode(),
                "forces": _ENCODE(message.forces).decode(),
                "alignment": message.alignment,
                "thresholds": _ENCODE(message.thresholds).decode(),
                "is_shadow": alert.is_shadow,
                "raised_utc": alert.raised_utc,
                "recorded_utc": now,
            },
            "ON CONFLICT DO NOTHING",  # an alert is judged once: what was recorded first stands
        )
        return signals.AlertRecorded(alert_id=key.alert_id, is_new=is_new)

    def _record_kill(self, kill: risk.RecordKill) -> risk.KillRecorded:
        """Keep one row per epoch; should two say one epoch, the higher level stands."""
        rows.insert(
            self._db,
            "kill",
            {
                "kill_epoch": kill.kill_epoch,
                "level": kill.level,
                "reason": kill.reason,
                "by": kill.by,
                "at_utc": kill.at_utc,
            },
            "ON CONFLICT DO UPDATE SET level = excluded.level, reason = excluded.reason, by = excluded.by,"
            " at_utc = excluded.at_utc WHERE excluded.level > kill.level",
        )
        return risk.KillRecorded(kill_epoch=kill.kill_epoch)

    def _record_command(self, command: operator.RecordCommand) -> None:
        """Keep one row per command; the newest outcome stands."""
        rows.insert(
            self._db,
            "commands",
            {
                "command_id": command.command_id,
                "name": command.name,
                "by": command.by,
                "reason": command.reason,
                "outcome": command.outcome,
                "at_utc": command.at_utc,
            },
            "ON CONFLICT DO UPDATE SET outcome = excluded.outcome",
        )

    def _restored_for(self, asked: lifecycle.RequestState) -> Restored | None:
        match asked.name.split(":"):
            case ["kill"]:
                return self._kill()
            case ["lane", source, ticker]:
                return self._lane(asked.session.isoformat(), source, ticker)
        return None

    def _kill(self) -> KillRestored:
        """Return the level in force; a ledger that cannot be read means level 1."""
        try:
            row = rows.first_row(
                self._db,
                _KillRow,
                f"SELECT {rows.columns_of(_KillRow)} FROM kill ORDER BY kill_epoch DESC LIMIT 1",
            )
        except (sqlite3.Error, msgspec.ValidationError) as error:
            why = f"The shared ledger cannot be read ({error})."
            return KillRestored(level=KillLevel.NO_ENTRIES, kill_epoch=_EPOCH_UNKNOWN, reason=why, by="ledger")
        if row is None:
            return KillRestored(level=KillLevel.RUNNING, kill_epoch=0, reason="", by="")
        return KillRestored(level=row.level, kill_epoch=row.kill_epoch, reason=row.reason, by=row.by)

    def _lane(self, session: str, source: str, ticker: str) -> LaneRestored:
        found = rows.all_rows(
            self._db,
            _AlertRow,
            f"SELECT {rows.columns_of(_AlertRow)} FROM alerts"
            " WHERE session = ? AND source = ? AND ticker = ? ORDER BY raised_utc, alert_id",
            (session, source, ticker),
        )
        decided = self._decided(session)
        last = {row.kind: row.raised_utc for row in found}
        return LaneRestored(
            last_alerts=tuple(sorted(last.items())),
            last_direction=found[-1].direction if found else None,
            unraised=tuple(row.alert for row in found if row.alert_id not in decided),
            promoted=tuple(sorted(_promoted(self._db, source))),
        )

    def _decided(self, session: str) -> set[str]:
        """Return the alerts that have a gate row on any desk."""
        found: set[str] = set()
        for desk in self._desks:
            db = open_reader(self._folder / f"{desk}.db", DESK)
            if db is not None:
                decided = db.execute("SELECT alert_id FROM gate_log WHERE session = ?", (session,)).fetchall()
                found.update(str(row[0]) for row in decided)
                db.close()
        return found


class _KillRow(rows.Row, frozen=True):
    level: KillLevel
    kill_epoch: int
    reason: str
    by: str


class _AlertRow(rows.Row, frozen=True):
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

    @property
    def alert(self) -> Alert:
        return Alert(
            key=AlertKey(
                source=self.source, ticker=self.ticker, kind=self.kind, version=self.version,
                bucket_utc=self.bucket_utc,
            ),
            direction=self.direction, entry_ticks=self.entry_ticks, target_ticks=self.target_ticks,
            stop_ticks=self.stop_ticks, horizon_ms=self.horizon_ms, is_shadow=self.is_shadow,
            raised_utc=self.raised_utc,
        )  # fmt: skip


def _promoted(db: sqlite3.Connection, source: str) -> set[str]:
    """Return what is promoted of a source as `KIND-version`: the newest word on each counts."""
    found = db.execute(
        "SELECT kind, version, is_promoted, max(at_utc) FROM promotions WHERE source = ? GROUP BY kind, version",
        (source,),
    ).fetchall()
    return {f"{kind}-{version}" for kind, version, is_promoted, _ in found if is_promoted}
