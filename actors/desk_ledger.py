"""A desk's ledger actor: sole writer of reservations, orders, executions, positions, gate log and day rows.

A fill reaches its position only through here; only where the ledger does not answer in time does the broker session's
actor tell it. The actor keeps nothing in memory: what waits for a file that cannot be written now waits in the store,
in order, and is recorded once. A repeat changes no row and is answered as it was the first time.
"""

from __future__ import annotations

from typing import assert_never

from actors.ledger_outage import OutageWatch, Timer
from domain.ports import LedgerStore
from messages import entries, lifecycle, orders, positions, risk, session, structures
from messages.ledgers import DeskFact, DeskInput
from supervision.actor import IoActor
from supervision.turn import Turn

Inbox = lifecycle.Started | lifecycle.TimerFired | DeskInput


class DeskLedgerActor(IoActor[Inbox]):
    """Carries messages into the desk's ledger and its facts to whom they concern.

    Args:
        name: the address, `ledger:<desk>`.
        store: the desk's ledger.
    """

    is_bound = False  # SQLite serves any thread, one at a time

    def __init__(self, name: str, store: LedgerStore[DeskInput, DeskFact]) -> None:
        super().__init__(name)
        self._store = store
        self._desk = name.partition(":")[2]
        self._outages = OutageWatch("fills reach their positions and exits go on")

    def open(self) -> None:
        """Open the ledger."""
        self._store.open()

    def close(self) -> None:
        """Release the ledger."""
        self._store.close()

    def handle(self, turn: Turn[None], message: Inbox) -> None:
        """Write, then report what is durable, or what is not durable yet and must be known all the same."""
        match message:
            case (  # the most frequent first
                positions.RecordPosition() | orders.RecordOrderIds() | orders.RecordCommission()
                | orders.RecordExecution() | entries.ReserveEntry() | orders.RecordExitIntent()
                | positions.PositionClosed() | entries.RecordDenial() | entries.ReleaseReservation()
                | entries.EntryAmended() | orders.BrokerRefused() | orders.RecordSlice() | orders.SliceNoted()
                | positions.EntryAbandoned() | positions.ExitsTightened() | positions.ShadowClosed()
                | structures.StructureChanged() | structures.StructureClosed()
                | risk.LockDay() | risk.RecordStartNav() | risk.RecordDay() | risk.RecordDayStops()
                | session.Reconcile() | lifecycle.RequestState()
            ):  # fmt: skip
                for fact in self._store.apply(message, turn.now):
                    self._tell(turn, message, fact)
            case lifecycle.Started():
                self._retry(turn)  # what an earlier incarnation left waiting
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.RETRY:
                        self._retry(turn)
                    case unknown:
                        assert_never(unknown)
            case _:
                assert_never(message)
        self._outages.look(turn, self._store)

    def _retry(self, turn: Turn[None]) -> None:
        for recorded, fact in self._store.retry(turn.now):
            self._tell(turn, recorded, fact)
        self._outages.retried(turn, self._store)

    def _tell(self, turn: Turn[None], message: DeskInput, fact: DeskFact) -> None:
        match fact:
            case orders.ExitIntentRecorded() | orders.SliceRecorded() | lifecycle.StateRead():
                if isinstance(message, orders.RecordExitIntent | orders.RecordSlice | lifecycle.RequestState):
                    turn.report(message.reply_to, fact)
            case orders.FillRecorded() | orders.CommissionRecorded():
                turn.report(f"position:{self._desk}:{fact.con_id}", fact)
            case entries.EntryReserved() | entries.EntryRefused() | risk.DayLocked() | risk.StartNavRecorded():
                turn.report(f"risk:{self._desk}", fact)
            case session.Reconciled() | orders.ExecutionRecorded():
                turn.report(f"ibkr:{self._desk}", fact)
            case risk.RaiseKill():
                turn.tell("kill", fact)
            case _:
                assert_never(fact)
