"""The shared ledger's actor: sole writer of alerts, kill level and operator commands.

Hears RecordAlert, RecordKill, RecordCommand, ReadState; says AlertRecorded, KillRecorded, StateRead. Keeps nothing in
memory: a new incarnation opens the file again. An I/O error is a failed delivery and comes again.
"""

from __future__ import annotations

from domain.ports import LedgerStore
from messages import lifecycle, signals
from messages.base import Message
from supervision.actor import IoActor
from supervision.effects import Effects, Tell


class LedgerActor(IoActor):
    """Carries messages into the shared ledger and its facts to whom they concern."""

    def __init__(self, name: str, store: LedgerStore) -> None:
        super().__init__(name)
        self._store = store

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
        facts = self._store.apply(message, now)
        match message:
            case signals.RecordAlert() | lifecycle.ReadState():
                return tuple(Tell(message.reply_to, fact) for fact in facts)
        return tuple(Tell("kill", fact) for fact in facts)
