"""The warehouse's actor: sole writer of market data.

Buckets are taken in hand as they come and stored together by a timer that lies behind everything that waits in the
mailbox already, so batches grow when the disk falls behind. What people query is made ready after everybody was told
that the buckets are durable. Sealing runs in a child process. The actor keeps nothing of
its own: what is in hand belongs to the store and survives an incarnation.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, assert_never

from domain.alarm import Severity
from domain.instants import MINUTE, SECOND
from domain.ports import WarehouseStore
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from messages import lifecycle, market, operator, risk, session
from supervision.actor import IoActor
from supervision.turn import Turn

Outcome = market.BucketStored | market.BucketNotStored
Store = WarehouseStore[market.StoreBucket, Outcome]

LAST_ROWS_NS: Final = 15 * SECOND  # after the close the last bucket is due, and what comes late for it

Inbox = lifecycle.Started | lifecycle.TimerFired | market.StoreBucket | session.PhaseChanged


class Timer(StrEnum):
    """`FLUSH`: store what is in hand; `SHOW`: let people query it.

    `SEAL`, `SEAL_WHOLE` (the closed day): start a seal, and tidy up after the one before; `POLL_SEAL`: look at it.
    """

    FLUSH = "flush"
    SHOW = "show"
    SEAL = "seal"
    SEAL_WHOLE = "seal_whole"
    POLL_SEAL = "poll_seal"


class WarehouseActor(IoActor[Inbox]):
    """Takes buckets in hand, makes them durable, seals.

    Args:
        name: the address, `warehouse`.
        store: the writer.
        seal_every_ns: market time between two seals.
        poll_every_ns: market time between two looks at a running seal.
        flush_after_ns: how long a bucket may wait for the others of its instant, so that they are written together and
            not while lanes and orders need the processor.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        seal_every_ns: int = 30 * MINUTE,
        poll_every_ns: int = SECOND,
        flush_after_ns: int = 0,
    ) -> None:
        super().__init__(name)
        self._store = store
        self._seal_every_ns = seal_every_ns
        self._poll_every_ns = poll_every_ns
        self._flush_after_ns = flush_after_ns
        self._closed: session.PhaseChanged | None = None
        self._is_disk_told = False

    def open(self) -> None:
        """Take the writer's lock."""
        self._store.open()

    def close(self) -> None:
        """Release the lock; a running seal is stopped."""
        self._store.close()

    def handle(self, turn: Turn[None], message: Inbox) -> None:
        """Carry out one message."""
        match message:
            case lifecycle.Started():
                turn.arm(Timer.SEAL, turn.now + self._seal_every_ns)
                self._tell_findings(turn)
                if self._store.in_hand:
                    turn.arm(Timer.FLUSH, turn.now)
            case market.StoreBucket():
                self._store.take(message)
                if self._store.in_hand == 1:
                    turn.arm(Timer.FLUSH, turn.now + self._flush_after_ns)
            case session.PhaseChanged():
                if message.phase is Phase.CLOSED:  # seal the whole day, after what still waits in the mailbox
                    self._closed = message
                    turn.arm(Timer.SEAL_WHOLE, turn.now + LAST_ROWS_NS)
            case lifecycle.TimerFired():
                self._on_timer(turn, Timer(message.kind))
            case _:
                assert_never(message)

    def _on_timer(self, turn: Turn[None], timer: Timer) -> None:
        match timer:
            case Timer.FLUSH:
                self._flush(turn)
            case Timer.SHOW:
                self._store.show()
            case Timer.SEAL:
                self._store.tidy()
                if not self._start_seal(turn, is_whole=False):
                    turn.arm(Timer.SEAL, turn.now + self._seal_every_ns)
            case Timer.SEAL_WHOLE:
                if self._store.poll_seal() is None:  # another one is under way
                    turn.arm(Timer.SEAL_WHOLE, turn.now + self._poll_every_ns)
                else:
                    if self._store.in_hand:
                        self._flush(turn)
                    if self._closed is not None:
                        self._store.end_day(self._closed.session)
                    self._start_seal(turn, is_whole=True)
            case Timer.POLL_SEAL:
                self._poll_seal(turn)
            case _:
                assert_never(timer)

    def _tell_findings(self, turn: Turn[None]) -> None:
        """Say once what was wrong with folders or rows, and what was done about it."""
        found = self._store.take_findings()
        if found:
            text = " ".join(found)
            turn.publish(operator.Alarm(key="folders", severity=Severity.WARNING, text=text, at_utc=turn.now))

    def _start_seal(self, turn: Turn[None], *, is_whole: bool) -> bool:
        closed = self._closed if is_whole else None
        has_started = self._store.start_seal(closed.session if closed is not None else None)
        if has_started:
            turn.arm(Timer.POLL_SEAL, turn.now + self._poll_every_ns)
        return has_started

    def _flush(self, turn: Turn[None]) -> None:
        fault = self._store.disk_fault()
        if fault is not None and not self._is_disk_told:
            turn.tell("kill", risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=fault, by=self.name))
        self._is_disk_told = fault is not None
        for outcome in self._store.flush():
            turn.publish(outcome)
        self._tell_findings(turn)
        turn.arm(Timer.SHOW, turn.now)

    def _poll_seal(self, turn: Turn[None]) -> None:
        why_failed = self._store.poll_seal()
        if why_failed is None:
            turn.arm(Timer.POLL_SEAL, turn.now + self._poll_every_ns)
            return
        if why_failed:
            alarm = operator.Alarm(key="seal", severity=Severity.WARNING, text=why_failed, at_utc=turn.now)
            turn.publish(alarm)
        turn.arm(Timer.SEAL, turn.now + self._seal_every_ns)
