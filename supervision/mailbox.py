"""A mailbox of two lanes that outlives the actors who read it.

*critical* is first in, first out and never drops. *market* keeps the newest mail per key (latest wins).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from messages import market
from messages.base import Message


class Timer:
    """One arming of a timer; its identity tells it from later armings of the same key."""

    __slots__ = ("at_utc", "cause_seq", "key")

    def __init__(self, key: str, at_utc: int, cause_seq: int) -> None:
        self.key = key
        self.at_utc = at_utc
        self.cause_seq = cause_seq


class Mail(msgspec.Struct, eq=False, gc=False):
    """A message on its way, with what the envelope will say of it; `timer` is set for a `TimerFired`."""

    message: Message
    raw: bytes
    sender: str
    message_id: str
    cause_seq: int
    sent_utc: int
    timer: Timer | None = None
    deliveries: int = 0


def _quote_slot(message: Any) -> str:
    return f"quote:{message.con_id}"


def _spots_slot(message: Any) -> str:
    return "spots:" + ",".join(spot.ticker for spot in message.spots)


# The market lane: of these only the newest of a slot matters.
_SLOTS: dict[type, Callable[[Any], str]] = {market.QuoteChanged: _quote_slot, market.SpotsChanged: _spots_slot}


class Mailbox:
    """Mail of one address. `put` may be called from any thread; `take` and `put_back` by one at a time."""

    __slots__ = ("_lock", "_market", "conflated", "critical")

    def __init__(self) -> None:
        self.critical: deque[Mail] = deque()
        self._market: dict[str, Mail] = {}
        self._lock = threading.Lock()
        self.conflated = 0

    def put(self, mail: Mail) -> bool:
        """Add mail; False when it took the place of an older one of the same slot (no new wake-up is due)."""
        slot_of = _SLOTS.get(type(mail.message))
        if slot_of is None:
            self.critical.append(mail)
            return True
        slot = slot_of(mail.message)
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
            return self._market.pop(next(iter(self._market)))

    def depth(self) -> int:
        """Count the waiting mail of both lanes."""
        return len(self.critical) + len(self._market)

    def oldest_utc(self) -> int | None:
        """Give the instant at which the next critical mail was sent; `None` when none waits."""
        try:
            return self.critical[0].sent_utc
        except IndexError:
            return None
