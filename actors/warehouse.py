"""The warehouse's actor: sole writer of market data.

Hears StoreBucket from the hubs; says BucketStored or BucketNotStored to the hub that asked, and level 1 to `kill` where
rows could not be kept. Buckets are taken in hand as they come and stored together by a timer that lies behind
everything that waits in the mailbox already, so batches grow when the disk falls behind. Sealing runs in a child
process. Keeps nothing of its own: what is in hand belongs to the store and survives an incarnation.
"""

from __future__ import annotations

from domain.instants import MINUTE, SECOND
from domain.ports import WarehouseStore
from domain.session.phases import Phase
from messages import lifecycle, market, operator, risk, session
from messages.base import Message
from supervision.actor import IoActor
from supervision.effects import Effect, Effects, SetTimer, Tell

FLUSH, SEAL, POLL, WHOLE = "flush", "seal", "poll_seal", "seal_whole"


class WarehouseActor(IoActor):
    """Takes buckets in hand, makes them durable, seals.

    Args:
        name: the address, `warehouse`.
        store: the writer.
        seal_every_ns: market time between two seals.
        poll_every_ns: time between two looks at a running seal (scaled like every real duration).
        flush_after_ns: how long a bucket may wait for the others of its instant, so that they are written together and
            not while lanes and orders need the processor (scaled likewise).
    """

    def __init__(
        self,
        name: str,
        store: WarehouseStore,
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

    def handle(self, message: Message, now: int) -> Effects:
        """Carry out one message.

        Raises:
            TypeError: no message for the warehouse.
        """
        match message:
            case lifecycle.Started():
                left = (SetTimer(FLUSH, now),) if self._store.in_hand else ()
                return (SetTimer(SEAL, now + self._seal_every_ns), *left)
            case market.StoreBucket():
                self._store.take(message)
                return (SetTimer(FLUSH, now + self._flush_after_ns),) if self._store.in_hand == 1 else ()
            case session.PhaseChanged():
                return self._phase(message, now)
            case lifecycle.TimerFired():
                return self._timer(message.key, now)
        raise TypeError(f"{type(message).__name__} is no message for the warehouse")

    def _timer(self, key: str, now: int) -> Effects:
        if key == FLUSH:
            return self._flush()
        if key == POLL:
            return self._poll(now)
        if key == WHOLE and self._store.poll_seal() is None:
            return (SetTimer(WHOLE, now + self._poll_every_ns),)
        closed = self._closed if key == WHOLE else None
        started = self._store.start_seal(closed.session if closed is not None else None)
        if started:
            return (SetTimer(POLL, now + self._poll_every_ns),)
        return (SetTimer(SEAL, now + self._seal_every_ns),) if key == SEAL else ()

    def _phase(self, phase: session.PhaseChanged, now: int) -> Effects:
        """Seal the whole day once it is closed, after what still waits in the mailbox."""
        if phase.phase is not Phase.CLOSED:
            return ()
        self._closed = phase
        return (SetTimer(WHOLE, now + self._poll_every_ns),)

    def _flush(self) -> Effects:
        effects: list[Effect] = []
        fault = self._store.disk_fault()
        if fault is not None and not self._is_disk_told:
            effects.append(Tell("kill", risk.RaiseKill(level=1, reason=fault, by=self.name)))
        self._is_disk_told = fault is not None
        lost: list[market.BucketNotStored] = []
        for outcome in self._store.flush():
            effects.append(Tell(f"hub:{outcome.hub}", outcome))
            if isinstance(outcome, market.BucketNotStored):
                lost.append(outcome)
        if lost:
            effects.append(Tell("kill", risk.RaiseKill(level=1, reason=lost[0].why, by=self.name)))
        return tuple(effects)

    def _poll(self, now: int) -> Effects:
        ended = self._store.poll_seal()
        if ended is None:
            return (SetTimer(POLL, now + self._poll_every_ns),)
        again = SetTimer(SEAL, now + self._seal_every_ns)
        if ended:
            alarm = operator.Alarm(key="seal", severity="warning", text=ended, at_utc=now)
            return (Tell("notifier", alarm), again)
        return (again,)
