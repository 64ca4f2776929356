"""A desk's ledger actor: sole writer of reservations, orders, executions, positions, gate log and day rows.

A fill reaches its position only through here. The actor keeps nothing in memory. What fails comes again, also after a
COMMIT whose answer was lost: a repeat changes no row and is answered as it was the first time.
"""

from __future__ import annotations

from typing import assert_never

from domain.ports import LedgerStore
from messages import entries, lifecycle, orders, positions, risk, session
from messages.ledgers import DeskFact, DeskInput
from supervision.actor import IoActor
from supervision.turn import Turn

Inbox = lifecycle.Started | DeskInput


class DeskLedgerActor(IoActor[Inbox]):
    """Carries messages into the desk's ledger and its facts to whom they concern.

    Args:
        name: the address, `ledger:<desk>`.
        store: the desk's ledger.
    """

    def __init__(self, name: str, store: LedgerStore[DeskInput, DeskFact]) -> None:
        super().__init__(name)
        self._store = store
        self._desk = name.partition(":")[2]

    def open(self) -> None:
        """Open the ledger."""
        self._store.open()

    def close(self) -> None:
        """Release the ledger."""
        self._store.close()

    def handle(self, turn: Turn[None], message: Inbox) -> None:
        """Write, then report what is durable."""
        match message:
            case lifecycle.Started():
                pass  # the file is open, and nothing is kept in memory
            case orders.RecordExitIntent() | lifecycle.RequestState():
                self._write(turn, message, message.reply_to)
            case (
                entries.ReserveEntry() | entries.ReleaseReservation() | entries.RecordDenial()
                | orders.RecordOrderIds() | orders.RecordExecution() | orders.RecordCommission()
                | positions.RecordPosition() | positions.PositionClosed() | positions.EntryAbandoned()
                | risk.LockDay() | risk.RecordStartNav() | risk.RecordDay() | session.Reconcile()
            ):  # fmt: skip
                self._write(turn, message)
            case _:
                assert_never(message)

    def _write(self, turn: Turn[None], message: DeskInput, reply_to: str = "") -> None:
        for fact in self._store.apply(message, turn.now):
            match fact:
                case orders.ExitIntentRecorded() | lifecycle.StateRead():
                    turn.report(reply_to, fact)
                case orders.FillRecorded() | orders.CommissionRecorded():
                    turn.report(f"position:{self._desk}:{fact.con_id}", fact)
                case entries.EntryReserved() | entries.EntryRefused() | risk.DayLocked() | risk.StartNavRecorded():
                    turn.report(f"risk:{self._desk}", fact)
                case session.Reconciled():
                    turn.report(f"ibkr:{self._desk}", fact)
                case risk.RaiseKill():
                    turn.tell("kill", fact)
                case _:
                    assert_never(fact)
