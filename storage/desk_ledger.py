"""A desk's ledger: reservations, orders, executions, positions, gate log, watermarks and day rows, one writer."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import assert_never

from domain.units import Utc
from messages import entries, lifecycle, orders, positions, risk, session
from messages.ledgers import DeskFact, DeskInput
from storage import day_rows, fills, position_rows, reservations
from storage.desk_restore import restored_for
from storage.ledger_schema import DESK
from storage.reconcile import reconcile
from storage.sqlite_file import open_file, transaction

Facts = tuple[DeskFact, ...]


class DeskLedger:
    """The `LedgerStore` of one desk; what it returns was committed.

    Args:
        folder: the data folder; the file is `<desk>.db` beside `ledger.db`.
        desk: the desk's name; a file of another desk is refused.
        run_n: the number of this start; entries reserved in an earlier run are no longer wanted.
        is_durable: False leaves out every fsync (simulated days that nobody resumes).
    """

    def __init__(self, folder: Path, desk: str, run_n: int, *, is_durable: bool = True) -> None:
        self._folder = folder
        self._desk = desk
        self._run_n = run_n
        self._is_durable = is_durable
        self._open_db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open `<desk>.db`, creating or migrating it.

        Raises:
            LedgerRefusedError: unreadable, of a newer version, or another desk's.
        """
        self.close()
        self._open_db = open_file(self._folder / f"{self._desk}.db", DESK, self._desk, is_durable=self._is_durable)

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

    def apply(self, message: DeskInput, now: Utc) -> Facts:
        """Carry out one message in one transaction; its facts hold once this returns."""
        if isinstance(message, lifecycle.RequestState):
            restored = restored_for(self._db, message, self._folder, self._desk)
            return (lifecycle.StateRead(name=message.name, restored=restored, read_n=message.read_n),)
        with transaction(self._db):
            return self._written(message, now)

    def _written(self, message: DeskInput, now: Utc) -> Facts:
        db, desk, run_n = self._db, self._desk, self._run_n
        match message:
            case entries.ReserveEntry():
                return (reservations.reserve(db, message, desk, run_n, now),)
            case entries.ReleaseReservation():
                reservations.release(db, message, now)
            case entries.RecordDenial():
                reservations.record_denial(db, message, desk)
            case orders.RecordOrderIds():
                db.execute(
                    "UPDATE orders SET perm_id = ?, status = ?, changed_utc = ? WHERE order_ref = ?",
                    (message.perm_id, message.status, now, message.order_ref),
                )
            case orders.RecordExecution():
                return fills.record_execution(db, message.execution, desk, run_n, now)
            case orders.RecordCommission():
                return fills.record_commission(db, message, now)
            case orders.RecordExitIntent():
                position_rows.record_exit_intent(db, message, desk, run_n, now)
                return (orders.ExitIntentRecorded(order_ref=message.order_ref, tier=message.tier),)
            case positions.RecordPosition():
                position_rows.record_position(db, message, desk)
            case positions.PositionClosed():
                position_rows.close_position(db, message, desk)
            case positions.EntryAbandoned():
                reservations.abandon(db, message.ref.intent_id, message.ref.contract.con_id, message.why, now)
            case session.Reconcile():
                return reconcile(db, message, desk, run_n, now)
            case risk.LockDay():
                return (day_rows.lock_day(db, message, desk),)
            case risk.RecordStartNav():
                return (day_rows.record_start_nav(db, message, desk),)
            case risk.RecordDay():
                day_rows.record_day(db, message, desk)
            case lifecycle.RequestState():
                pass  # answered above: a question needs no transaction
            case _:
                assert_never(message)
        return ()
