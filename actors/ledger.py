"""The shared ledger's actor: sole writer of alerts, kill level and operator commands.

It keeps nothing in memory: a new incarnation opens the file again. An I/O error is a failed delivery and comes again.
"""

from __future__ import annotations

from typing import assert_never

from domain.ports import LedgerStore
from messages import lifecycle, operator, risk, signals
from messages.ledgers import SharedFact, SharedInput
from supervision.actor import IoActor
from supervision.turn import Turn

Inbox = lifecycle.Started | SharedInput


class LedgerActor(IoActor[Inbox]):
    """Carries messages into the shared ledger and its facts to whom they concern.

    Args:
        name: the address, `ledger`.
        store: the shared ledger.
    """

    def __init__(self, name: str, store: LedgerStore[SharedInput, SharedFact]) -> None:
        super().__init__(name)
        self._store = store

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
            case signals.RecordAlert() | lifecycle.RequestState():
                for fact in self._store.apply(message, turn.now):
                    turn.report(message.reply_to, fact)
            case risk.RecordKill():
                for fact in self._store.apply(message, turn.now):
                    turn.report("kill", fact)
            case operator.RecordCommand():
                self._store.apply(message, turn.now)  # an audit: nobody waits for it
            case _:
                assert_never(message)
