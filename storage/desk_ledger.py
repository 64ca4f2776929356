"""A desk's ledger: reservations, orders, executions, positions, gate log, watermarks and day rows, one writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import assert_never

from msgspec.structs import replace

from domain.risk.gates.types import refused
from domain.risk.reject import RejectCode
from domain.units import Utc
from messages import entries, lifecycle, orders, positions, risk, session, structures
from messages.ledgers import DeskFact, DeskInput
from storage import day_rows, exit_rows, fills, order_rows, position_rows, reservations, structure_rows
from storage.desk_restore import restored_for
from storage.ledger_file import LedgerFile, Together
from storage.ledger_schema import DESK
from storage.reconcile import allowed_con_ids, reconcile

Facts = tuple[DeskFact, ...]


class DeskLedger(LedgerFile[DeskInput, DeskFact]):
    """The `LedgerStore` of one desk; what it returns was committed, or says that it is not durable.

    Args:
        folder: the data folder; the file is `<desk>.db` beside `ledger.db`.
        desk: the desk's name; a file of another desk is refused.
        run_n: the number of this start; entries reserved in an earlier run are no longer wanted.
        is_durable: False leaves out every fsync (simulated days that nobody resumes).
        foreign_allowed: symbols and contract ids of holdings that are not ours and may stay.
        together: the ledgers of its stepped run; `None`: each message is a transaction of its own.
    """

    def __init__(
        self, folder: Path, desk: str, run_n: int, *, is_durable: bool = True,
        foreign_allowed: Collection[int | str] = (), together: Together | None = None,
    ) -> None:  # fmt: skip
        super().__init__(folder / f"{desk}.db", DESK, desk, is_durable=is_durable, together=together)
        self._folder = folder
        self._desk = desk
        self._run_n = run_n
        self._foreign_allowed = frozenset(str(one) for one in foreign_allowed)
        self._allowed_con_ids = allowed_con_ids(None, self._foreign_allowed)

    def _answer(self, db: sqlite3.Connection, question: lifecycle.RequestState) -> Facts:
        restored = restored_for(db, question, self._folder, self._desk)
        return (lifecycle.StateRead(name=question.name, restored=restored, read_n=question.read_n),)

    def _written(self, db: sqlite3.Connection, message: DeskInput, now: Utc) -> Facts:
        desk, run_n = self._desk, self._run_n
        match message:
            case positions.RecordPosition():
                position_rows.record_position(db, message, desk)
            case orders.RecordOrderIds():
                order_rows.record_ids(
                    db, message.order_ref, message.perm_id, message.status, now, message.limit_ticks, message.by
                )
            case orders.RecordExecution():
                execution = message.execution
                taken = orders.ExecutionRecorded(exec_id=execution.exec_id, revision=execution.revision)
                return (*fills.record_execution(db, execution, desk, run_n, now, self._allowed_con_ids), taken)
            case orders.RecordCommission():
                return fills.record_commission(db, message, now)
            case entries.ReserveEntry():
                return (reservations.reserve(db, message, desk, run_n, now),)
            case entries.ReleaseReservation():
                reservations.release(db, message, now)
            case entries.RecordDenial():
                reservations.record_denial(db, message, desk)
            case entries.EntryAmended():
                reservations.amend(db, message)
            case orders.BrokerRefused():
                order_rows.record_refusal(db, message)
            case orders.RecordExitIntent():
                position_rows.record_exit_intent(db, message, desk, run_n, now)
                return (orders.ExitIntentRecorded(order_ref=message.order_ref, tier=message.tier),)
            case orders.RecordSlice():
                return reservations.record_slice(db, message, desk, run_n, now)
            case orders.SliceNoted():
                order_rows.record_note(db, message)
            case positions.PositionClosed():
                position_rows.close_position(db, message, desk)
            case positions.EntryAbandoned():
                reservations.abandon(db, message.ref.intent_id, message.ref.contract.con_id, message.why, now)
            case positions.ExitsTightened():
                exit_rows.record_change(db, message)
            case positions.ShadowClosed():
                exit_rows.record_shadow(db, message, desk)
            case structures.StructureChanged():
                structure_rows.change(db, message)
            case structures.StructureClosed():
                structure_rows.close(db, message)
            case session.Reconcile():
                self._allowed_con_ids |= allowed_con_ids(message.read, self._foreign_allowed)
                return reconcile(db, message, desk, run_n, now, self._foreign_allowed)
            case risk.LockDay():
                return (day_rows.lock_day(db, message, desk),)
            case risk.RecordStartNav():
                return day_rows.record_start_nav(db, message, desk)
            case risk.RecordDay():
                day_rows.record_day(db, message, desk)
            case risk.RecordDayStops():
                day_rows.record_stops(db, message, desk)
            case lifecycle.RequestState():
                pass  # answered apart: a question needs no transaction
            case _:
                assert_never(message)
        return ()

    def _provisional(self, fact: DeskFact) -> DeskFact | None:
        match fact:
            case orders.FillRecorded() | orders.ExecutionRecorded():
                return replace(fact, is_durable=False)
            case orders.ExitIntentRecorded():
                return None  # it says that the record is durable; the exit goes without it
            case orders.SliceRecorded():
                return None  # it says that the record is durable; no slice goes without it
            case entries.EntryReserved() | entries.EntryRefused():
                return None  # refused before it came here
            case (
                orders.CommissionRecorded() | risk.DayLocked() | risk.StartNavRecorded() | risk.RaiseKill()
                | session.Reconciled() | lifecycle.StateRead()
            ):  # fmt: skip
                return fact
            case _:
                assert_never(fact)

    def _refused_apart(self, message: DeskInput, why: str) -> tuple[tuple[DeskInput, ...], Facts]:
        """Refuse an entry while nothing can be reserved durably; the refusal's row waits like everything else."""
        if not isinstance(message, entries.ReserveEntry):
            return (message,), ()
        finding = refused(RejectCode.MISSING_INPUT, looked_at=f"the desk's ledger: {why}")
        answer = entries.EntryRefused(intent_id=message.intent.intent_id, finding=finding)
        return reservations.refusal_records(message, finding), (answer,)
