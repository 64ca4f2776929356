"""The shared ledger's actor: sole writer of alerts, outcomes, kill level, promotions, spreads and operator commands.

It keeps nothing in memory: what waits for a file that cannot be written now waits in the store, in order.
"""

from __future__ import annotations

from typing import assert_never

from actors.ledger_outage import OutageWatch, Timer
from domain.ports import LedgerStore
from messages import desks, lifecycle, operator, risk, signals
from messages.ledgers import SharedFact, SharedInput
from supervision.actor import IoActor
from supervision.turn import Turn

Inbox = lifecycle.Started | lifecycle.TimerFired | SharedInput


class LedgerActor(IoActor[Inbox]):
    """Carries messages into the shared ledger and its facts to whom they concern.

    Args:
        name: the address, `ledger`.
        store: the shared ledger.
    """

    is_bound = False  # SQLite serves any thread, one at a time

    def __init__(self, name: str, store: LedgerStore[SharedInput, SharedFact]) -> None:
        super().__init__(name)
        self._store = store
        self._outages = OutageWatch("the kill level holds and exits go on")

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
                self._retry(turn)  # what an earlier incarnation left waiting
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.RETRY:
                        self._retry(turn)
                    case unknown:
                        assert_never(unknown)
            case (
                signals.RecordAlert() | signals.RecordPromotion() | signals.RecordOutcome() | risk.RecordKill()
                | risk.RecordSpread() | operator.RecordCommand() | desks.RecordRoute() | lifecycle.RequestState()
            ):  # fmt: skip
                for fact in self._store.apply(message, turn.now):
                    _tell(turn, message, fact)
            case _:
                assert_never(message)
        self._outages.look(turn, self._store)

    def _retry(self, turn: Turn[None]) -> None:
        for recorded, fact in self._store.retry(turn.now):
            _tell(turn, recorded, fact)
        self._outages.retried(turn, self._store)


def _tell(turn: Turn[None], message: SharedInput, fact: SharedFact) -> None:
    match fact:
        case signals.AlertRecorded() | lifecycle.StateRead():
            if isinstance(message, signals.RecordAlert | lifecycle.RequestState):
                turn.report(message.reply_to, fact)
        case signals.PromotionRecorded():
            turn.report("operator", fact)
        case risk.KillRecorded():
            turn.report(f"kill:{fact.desk}" if fact.desk else "kill", fact)
        case desks.RouteRecorded():
            turn.report("router", fact)
        case _:
            assert_never(fact)
