"""A mailbox of two lanes that outlives the actors who read it.

*critical* is first in, first out and never drops. *market* keeps the newest mail per slot (latest wins): it takes the
messages whose class conflates, and serves them by their rank.
"""

from __future__ import annotations

import threading
from collections import deque

import msgspec

from domain.units import Utc
from messages.base import Message


class Timer:
    """One arming of a timer; its identity tells it from later armings of the same (kind, subject).

    `began` is when it was armed and how long the process had starved by then (ns), of a kind that is weighed.
    """

    __slots__ = ("at_utc", "began", "cause_seq", "excused_ms", "key")

    def __init__(self, kind: str, subject: str, at_utc: Utc, cause_seq: int, excused_ms: int = 0) -> None:
        self.key = (kind, subject)
        self.at_utc = at_utc
        self.cause_seq = cause_seq
        self.excused_ms = excused_ms
        self.began: tuple[Utc, int] | None = None


class Mail(msgspec.Struct, eq=False, gc=False):
    """A message on its way, with what the envelope will say of it; `timer` is set for a `TimerFired`."""

    message: Message
    raw: bytes
    sender: str
    message_id: str
    cause_seq: int
    sent_utc: Utc
    timer: Timer | None = None
    deliveries: int = 0


class Mailbox:
    """Mail of one address. `put` may be called from any thread; `take` and `put_back` by one at a time."""

    __slots__ = ("_lock", "_market", "conflated", "critical")

    def __init__(self) -> None:
        self.critical: deque[Mail] = deque()
        self._market: dict[str, Mail] = {}
        self._lock = threading.Lock()
        self.conflated = 0

    def put(self, mail: Mail) -> bool:
        """Add mail; return False when it took the place of an older one of its slot (no new wake-up is due)."""
        message = mail.message
        if not message.CONFLATES:
            self.critical.append(mail)
            return True
        slot = message.slot()
        with self._lock:
            is_new = slot not in self._market
            self._market[slot] = mail
            self.conflated += not is_new
        return is_new

    def put_back(self, mail: Mail) -> None:
        """Return mail to the head of the critical lane (it will be delivered again, before anything else)."""
        self.critical.appendleft(mail)

    def take(self) -> Mail | None:
        """Take the next mail, critical lane first; `None` when there is none."""
        if self.critical:
            return self.critical.popleft()
        if not self._market:
            return None
        with self._lock:
            if len(self._market) == 1:
                return self._market.popitem()[1]
            return self._market.pop(min(self._market, key=lambda slot: self._market[slot].message.rank()))

    def depth(self) -> int:
        """Return how much mail waits in both lanes."""
        return len(self.critical) + len(self._market)

    def oldest_utc(self) -> Utc | None:
        """Return the instant at which the next critical mail was sent; `None` when none waits."""
        try:
            return self.critical[0].sent_utc
        except IndexError:
            return None
