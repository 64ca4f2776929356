"""The shared ledger: kill level, alerts, promotions, spreads, operator commands and runs, one writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import date
from itertools import count
from pathlib import Path
from typing import assert_never

import msgspec

from domain.position.profiles import SOURCE
from domain.risk.kill import KillLevel
from domain.risk.kill_watch import Norm
from domain.signals.rates import PromotionRefusal, PromotionRefused, exits_promotion_of, promotion_of, rate_of
from domain.units import Utc
from messages import desks, lifecycle, operator, risk, signals
from messages.ledgers import SharedFact, SharedInput
from messages.restored import KillRestored, LaneRestored, OutcomesRestored, Restored, RoutesRestored
from storage import exit_rows, rows
from storage.alert_rows import AlertRow, alert_of_offer, insert_outcome, open_alerts, outcomes_of
from storage.ledger_file import LedgerFile, Together
from storage.ledger_schema import DESK, SHARED, SHARED_OWNER
from storage.lost import SHARED_FILE, refuse_lost
from storage.promotions import free_id, insert_promotion, is_promoted_now, promoted_of, word_of_command
from storage.sqlite_file import (
    START_BUSY_MS,
    LedgerRefusedError,
    is_empty,
    open_file,
    open_reader,
    reading,
    transaction,
)

FILE = SHARED_FILE
_NORM_SESSIONS = 20
_EPOCH_UNKNOWN = 1 << 40  # above every epoch that can have been given out: no old permit outlives it
_ENCODE = msgspec.json.Encoder().encode

Facts = tuple[SharedFact, ...]


def start_run(folder: Path, desks: Iterable[str], at_utc: Utc, *, traces: Path | None = None) -> int:
    """Bring every ledger to this version, count a start of the supervisor and return its number, durably.

    The desks' files are migrated here, too: other lanes and desks read them from the first message on. So are those of
    desks that the start does not name, where that is possible: they tell what else may be held. A ledger that
    was lost or emptied is refused: a new one beside what is left would know of no position. `traces` is the folder of
    the traces, which earlier runs have left.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    desks = tuple(desks)
    refuse_lost(folder, desks, traces)
    before = sorted(path.stem for path in folder.glob("*.db") if path.name != FILE)
    db = open_file(folder / FILE, SHARED, SHARED_OWNER, wait_ms=START_BUSY_MS)
    try:
        for desk in desks:
            open_file(folder / f"{desk}.db", DESK, desk, wait_ms=START_BUSY_MS).close()
        for desk in before:
            if desk not in desks:
                with suppress(LedgerRefusedError):  # whoever asks it is told why
                    bring_up(folder, desk)
        with reading(folder / FILE), transaction(db):
            for desk in desks:
                db.execute("INSERT INTO meta VALUES (?, 'kept') ON CONFLICT DO NOTHING", (f"desk:{desk}",))
            if len(desks) > 1:  # whose level the process's own was: never that of a desk that is new in a used folder
                owner = desks[0] if desks[0] in before or not before else before[0]
                db.execute("INSERT INTO meta VALUES ('first_desk', ?) ON CONFLICT DO NOTHING", (owner,))
            elif desks:
                db.execute("UPDATE meta SET value = ? WHERE key = 'first_desk'", desks)
            return int(db.execute("INSERT INTO runs (started_utc) VALUES (?)", (at_utc,)).lastrowid or 0)
    finally:
        db.close()


def bring_up(folder: Path, desk: str) -> None:
    """Bring a desk's ledger to this version, where there is one; none is made.

    Raises:
        LedgerRefusedError: it cannot be used.
    """
    path = folder / f"{desk}.db"
    if path.exists() and not is_empty(path):
        open_file(path, DESK, desk, wait_ms=START_BUSY_MS).close()


class SharedLedger(LedgerFile[SharedInput, SharedFact]):
    """The `LedgerStore` of `ledger.db`; what it returns was committed, or says nothing of being durable.

    Args:
        folder: the data folder.
        desks: the desks whose gate logs tell which alerts were decided on.
        is_durable: False leaves out every fsync (simulated days that nobody resumes).
        together: the ledgers of its stepped run; `None`: each message is a transaction of its own.
    """

    _looks_beside = (lifecycle.RequestState, signals.RecordPromotion)

    def __init__(
        self, folder: Path, desks: tuple[str, ...], *, is_durable: bool = True, together: Together | None = None
    ) -> None:
        super().__init__(folder / FILE, SHARED, SHARED_OWNER, is_durable=is_durable, together=together)
        self._folder = folder
        self._desks = desks

    def _answer(self, db: sqlite3.Connection, question: lifecycle.RequestState) -> Facts:
        restored = self._restored_for(db, question)
        return (lifecycle.StateRead(name=question.name, restored=restored, read_n=question.read_n),)

    def _written(self, db: sqlite3.Connection, message: SharedInput, now: Utc) -> Facts:
        match message:
            case signals.RecordAlert():
                return (_record_alert(db, message, now),)
            case signals.RecordPromotion():
                return (self._record_promotion(db, message),)
            case signals.RecordOutcome():
                insert_outcome(db, message)
            case risk.RecordKill():
                return (_record_kill(db, message),)
            case risk.RecordSpread():
                _record_spread(db, message)
            case operator.RecordCommand():
                _record_command(db, message)
            case desks.RecordRoute():
                return (_record_route(db, message),)
            case lifecycle.RequestState():
                pass  # answered apart: a question needs no transaction
            case _:
                assert_never(message)
        return ()

    def _record_promotion(self, db: sqlite3.Connection, message: signals.RecordPromotion) -> signals.PromotionRecorded:
        def refusal() -> PromotionRefusal | None:
            if message.source == SOURCE:
                shown = exit_rows.proof_of(self._folder, self._desks, message.kind, message.version)
                return exits_promotion_of(shown, message.outcomes_min, message.rate_floor)
            rate = rate_of(outcomes_of(db, message.source, message.kind, message.version))
            return promotion_of(rate, message.outcomes_min, message.rate_floor)

        return _record_promotion(db, message, refusal)

    def _provisional(self, fact: SharedFact) -> SharedFact | None:
        """Return answers to questions alone: whoever waits for a record waits for a durable one."""
        return fact if isinstance(fact, lifecycle.StateRead) else None

    def _restored_for(self, db: sqlite3.Connection, asked: lifecycle.RequestState) -> Restored | None:
        match asked.name.split(":"):
            case ["kill"]:
                return _kill(db, asked.session, self._desks[0])
            case ["kill", desk]:
                return _kill(db, asked.session, desk, is_beside=desk != self._desks[0] or not _is_owner(db, desk))
            case ["router"]:
                return _routes(db)
            case ["lane", source, ticker]:
                return self._lane(db, asked.session.isoformat(), source, ticker)
            case ["outcomes"]:
                return OutcomesRestored(alerts=open_alerts(db))
        return None

    def _lane(self, db: sqlite3.Connection, session: str, source: str, ticker: str) -> LaneRestored:
        found = rows.all_rows(
            db,
            AlertRow,
            f"SELECT {rows.columns_of(AlertRow)} FROM alerts"
            " WHERE session = ? AND source = ? AND ticker = ? ORDER BY raised_utc, alert_id",
            (session, source, ticker),
        )
        decided = self._decided(session)
        last = {f"{row.kind}-{row.version}": row.raised_utc for row in found}
        return LaneRestored(
            last_alerts=tuple(sorted(last.items())),
            last_direction=next((row.direction for row in reversed(found) if not row.is_shadow), None),
            unraised=() if decided is None else tuple(row.alert for row in found if row.alert_id not in decided),
            promoted=tuple(sorted(promoted_of(db, source))),
            offers=tuple((row.offer_id, row.alert) for row in found if row.offer_id is not None),
        )

    def _decided(self, session: str) -> set[str] | None:
        """Return the alerts that have a gate row on any desk; `None` where a desk's ledger cannot be read now."""
        found: set[str] = set()
        try:
            for desk in self._desks:
                path = self._folder / f"{desk}.db"
                with reading(path):
                    db = open_reader(path, DESK)
                    if db is not None:
                        with closing(db):
                            decided = db.execute("SELECT alert_id FROM gate_log WHERE session = ?", (session,))
                            found.update(str(row[0]) for row in decided)
        except LedgerRefusedError:
            return None  # nothing is raised again then: an alert must not be decided on twice
        return found


# -- records --------------------------------------------------------------------------------------


def _record_alert(db: sqlite3.Connection, message: signals.RecordAlert, now: Utc) -> signals.AlertRecorded:
    alert, key = message.alert, message.alert.key
    is_new = rows.insert(
        db,
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
            "pushes": _ENCODE(message.pushes).decode(),
            "is_shadow": alert.is_shadow,
            "raised_utc": alert.raised_utc,
            "recorded_utc": now,
            "offer_id": message.offer_id,
        },
        "ON CONFLICT DO NOTHING",  # an alert is judged once: what was recorded first stands
    )
    offered = None if is_new else alert_of_offer(db, key.source, key.ticker, message.offer_id)
    return signals.AlertRecorded(alert_id=key.alert_id, is_new=is_new, offered=offered)


def _record_promotion(
    db: sqlite3.Connection, message: signals.RecordPromotion, refusal_of: Callable[[], PromotionRefusal | None]
) -> signals.PromotionRecorded:
    """Keep a word on a kind of alert, or say why not.

    A promotion that came before turns nothing on that a later word turned off; a withdrawal always holds.
    `refusal_of` looks at what was shown so far, where a proof is asked for.
    """
    command_id, word = message.command_id, (message.source, message.kind, message.version, message.is_promoted)
    before = word_of_command(db, command_id)
    if before is not None and message.is_promoted:
        refused = None if is_promoted_now(db, *word[:3]) else PromotionRefused.OUTDATED
        if before != word:
            refused = PromotionRefused.ID_REUSED
        return signals.PromotionRecorded(command_id=command_id, refused=refused)
    if message.is_promoted and message.outcomes_min:
        refusal = refusal_of()
        if refusal is not None:
            return signals.PromotionRecorded(
                command_id=command_id, refused=PromotionRefused.UNPROVEN, why=refusal.why
            )  # fmt: skip
    if before is None or is_promoted_now(db, *word[:3]):
        insert_promotion(
            db, message.source, message.kind, message.version, message.is_promoted, message.by, message.reason,
            message.at_utc, free_id(db, command_id),
        )  # fmt: skip
    return signals.PromotionRecorded(command_id=command_id)


def _record_kill(db: sqlite3.Connection, kill: risk.RecordKill) -> risk.KillRecorded:
    """Keep one row per epoch (of a desk); should two say one epoch, the higher level stands."""
    table, owner = ("desk_kills", {"desk": kill.desk}) if kill.desk else ("kill", {})
    row = {
        "kill_epoch": kill.kill_epoch, "level": kill.level, "reason": kill.reason, "by": kill.by, "at_utc": kill.at_utc,
    }  # fmt: skip
    rows.insert(
        db,
        table,
        owner | row,
        "ON CONFLICT DO UPDATE SET level = excluded.level, reason = excluded.reason, by = excluded.by,"
        f" at_utc = excluded.at_utc WHERE excluded.level > {table}.level",
    )
    return risk.KillRecorded(kill_epoch=kill.kill_epoch, desk=kill.desk)


def _record_route(db: sqlite3.Connection, route: desks.RecordRoute) -> desks.RouteRecorded:
    """Keep a word on where a strategy trades, once a command."""
    rows.insert(
        db,
        "routes",
        {
            "strategy": route.strategy, "desks": _ENCODE(route.desks).decode(), "by": route.by, "reason": route.reason,
            "command_id": route.command_id, "at_utc": route.at_utc,
        },
        "ON CONFLICT DO NOTHING",
    )  # fmt: skip
    return desks.RouteRecorded(command_id=route.command_id)


def _record_command(db: sqlite3.Connection, command: operator.RecordCommand) -> None:
    """Keep one row per command; the newest outcome stands, but what was carried out was.

    Another command under an id that was used before gets a row of its own (`<id>#2`), not the first one's name.
    """
    what = command.name, command.by, command.reason
    names = (command.command_id if n == 1 else f"{command.command_id}#{n}" for n in count(1))
    sql = "SELECT name, by, reason FROM commands WHERE command_id = ?"
    command_id = next(name for name in names if db.execute(sql, (name,)).fetchone() in (None, what))
    rows.insert(
        db,
        "commands",
        {
            "command_id": command_id,
            "name": command.name,
            "by": command.by,
            "reason": command.reason,
            "outcome": command.outcome,
            "at_utc": command.at_utc,
        },
        "ON CONFLICT DO UPDATE SET outcome = excluded.outcome WHERE outcome <> 'done'",
    )


def _record_spread(db: sqlite3.Connection, spread: risk.RecordSpread) -> None:
    """Keep one row per session and slot; the last word stands."""
    rows.insert(
        db,
        "spread_norms",
        {
            "session": spread.session.isoformat(),
            "slot_min": spread.slot_min,
            "median": spread.median,
            "at_utc": spread.at_utc,
        },
        "ON CONFLICT DO UPDATE SET median = excluded.median, at_utc = excluded.at_utc"
        " WHERE excluded.at_utc > spread_norms.at_utc",
    )


# -- what comes back ------------------------------------------------------------------------------


def _kill(db: sqlite3.Connection, session: date, desk: str, *, is_beside: bool = False) -> KillRestored:
    """Return the level in force of a desk; a ledger that cannot be read means level 1.

    A desk is new where nothing was ever recorded of it; the process's own level was that of its first desk.
    """
    try:
        row = _newest_kill(db, desk, is_beside=is_beside)
        norms = _spread_norms(db, session)
    except (sqlite3.Error, msgspec.ValidationError) as error:
        why = f"The shared ledger cannot be read ({error})."
        return KillRestored(level=KillLevel.NO_ENTRIES, kill_epoch=_EPOCH_UNKNOWN, reason=why, by="ledger")
    if row is None:
        return KillRestored(
            level=KillLevel.RUNNING, kill_epoch=0, reason="", by="", is_new=True, spread_norms=norms
        )  # fmt: skip
    return KillRestored(
        level=row.level, kill_epoch=row.kill_epoch, reason=row.reason, by=row.by, spread_norms=norms
    )  # fmt: skip


def _is_owner(db: sqlite3.Connection, desk: str) -> bool:
    """Return whether the process's own level was that of this desk."""
    row = db.execute("SELECT value FROM meta WHERE key = 'first_desk'").fetchone()
    return row is None or row[0] == desk


def _newest_kill(db: sqlite3.Connection, desk: str, *, is_beside: bool) -> _KillRow | None:
    """Return the level of a desk, under an epoch above all that were given out; `None` where it has none yet.

    That of the first desk is the newer of its own and the process's. Of another, a word on the process's (of the first
    desk alone, or of a restored backup) can raise it and never lower it.
    """
    columns = rows.columns_of(_KillRow)
    of_process = rows.first_row(db, _KillRow, f"SELECT {columns} FROM kill ORDER BY kill_epoch DESC LIMIT 1")
    own = rows.first_row(
        db, _KillRow, f"SELECT {columns} FROM desk_kills WHERE desk = ? ORDER BY kill_epoch DESC LIMIT 1", (desk,)
    )
    if own is None:
        return None if is_beside else of_process
    if of_process is None:
        return own
    newer = max(of_process, own, key=lambda row: (row.at_utc, row.level))
    newer = own if is_beside and newer.level < own.level else newer
    return msgspec.structs.replace(newer, kill_epoch=max(of_process.kill_epoch, own.kill_epoch))


def _routes(db: sqlite3.Connection) -> RoutesRestored | None:
    """Return the newest word on each strategy; `None` where it cannot be read."""
    try:
        found = db.execute("SELECT strategy, desks FROM routes ORDER BY n").fetchall()
        newest = {str(strategy): msgspec.json.decode(told, type=tuple[str, ...]) for strategy, told in found}
    except (sqlite3.Error, msgspec.MsgspecError):
        return None
    return RoutesRestored(routes=tuple(sorted(newest.items())))


def _spread_norms(db: sqlite3.Connection, session: date) -> tuple[Norm, ...]:
    """Return the slots of the last sessions up to this one, oldest first."""
    found = db.execute(
        "SELECT session, slot_min, median FROM spread_norms WHERE session IN (SELECT DISTINCT session FROM spread_norms"
        " WHERE session <= ? ORDER BY session DESC LIMIT ?) ORDER BY session, slot_min",
        (session.isoformat(), _NORM_SESSIONS),
    )
    return tuple(Norm(day, slot, median) for day, slot, median in found)


class _KillRow(rows.Row, frozen=True):
    level: KillLevel
    kill_epoch: int
    reason: str
    by: str
    at_utc: Utc
