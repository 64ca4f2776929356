"""A desk's ledger actor: sole writer of reservations, orders, executions, positions, gate log and day rows.

Hears what risk, ibkr and the positions want kept; says EntryReserved or EntryRefused, FillRecorded and
CommissionRecorded (the only way in which a fill reaches a position), ExitIntentRecorded, Reconciled, DayLocked,
StartNavRecorded, StateRead. Keeps nothing in memory. An I/O error is a failed delivery and comes again: every record
is idempotent.
"""

from __future__ import annotations

from domain.ports import LedgerStore
from messages import lifecycle, orders, risk, session
from messages.base import Message
from supervision.actor import IoActor
from supervision.effects import Effects, Tell


class DeskLedgerActor(IoActor):
    """Carries messages into the desk's ledger and its facts to whom they concern.

    Args:
        name: the address, `ledger:<desk>`.
        store: the desk's ledger.
    """

    def __init__(self, name: str, store: LedgerStore) -> None:
        super().__init__(name)
        self._store = store
        self._desk = name.partition(":")[2]

    def open(self) -> None:
        """Open the ledger."""
        self._store.open()

    def close(self) -> None:
        """Release the ledger."""
        self._store.close()

    def handle(self, message: Message, now: int) -> Effects:
        """Write, then tell what is durable.

        Raises:
            TypeError: no message for this ledger.
        """
        if isinstance(message, lifecycle.Started):
            return ()
        return tuple(Tell(self._address_of(fact, message), fact) for fact in self._store.apply(message, now))

    def _address_of(self, fact: Message, asked: Message) -> str:
        match fact:
            case orders.FillRecorded() | orders.CommissionRecorded():
                return f"position:{self._desk}:{fact.con_id}"
            case orders.EntryReserved() | orders.EntryRefused() | risk.DayLocked() | risk.StartNavRecorded():
                return f"risk:{self._desk}"
            case session.Reconciled():
                return f"ibkr:{self._desk}"
            case risk.RaiseKill():
                return "kill"
        match asked:
            case orders.RecordExitIntent() | lifecycle.ReadState():
                return asked.reply_to
        raise TypeError(f"nobody is to be told {type(fact).__name__}")
