"""A mailbox of two lanes that outlives the actors who read it.

*critical* is first in, first out and never drops. *market* keeps the newest mail per key (latest wins).
"""

from __future__ import annotations

import threading
from collections import deque

from messages import market
from messages.base import Message


class Mail:
    """A message on its way, with what the envelope will say of it."""

    __slots__ = ("cause_seq", "deliveries", "message", "message_id", "raw", "sender", "sent_utc")

    def __init__(
        self, message: Message, raw: bytes, sender: str, message_id: str, cause_seq: int, sent_utc: int
    ) -> None:
        self.message = message
        self.raw = raw
        self.sender = sender
        self.message_id = message_id
        self.cause_seq = cause_seq
        self.sent_utc = sent_utc
        self.deliveries = 0


def market_key(message: Message) -> str | None:
    """Give the slot of a message that only its newest instance matters of; `None` for every other message."""
    if type(message) is market.QuoteChanged:
        return f"quote:{message.con_id}"
    if type(message) is market.SpotsChanged:
        return "spots:" + ",".join(spot.ticker for spot in message.spots)
    return None


class Mailbox:
    """Mail of one address. `put` and `take` may be called from any thread."""

    __slots__ = ("_critical", "_lock", "_market", "conflated")

    def __init__(self) -> None:
        self._critical: deque[Mail] = deque()
        self._market: dict[str, Mail] = {}
        self._lock = threading.Lock()
        self.conflated = 0

    def put(self, mail: Mail) -> bool:
        """Add mail; False when it took the place of an older one of the same key (no new wake-up is due)."""
        key = market_key(mail.message)
        if key is None:
            self._critical.append(mail)
            return True
        with self._lock:
            is_new = key not in self._market
            self._market[key] = mail
            self.conflated += not is_new
        return is_new

    def put_back(self, mail: Mail) -> None:
        """Return mail to the head of the critical lane (it will be delivered again, before anything else)."""
        self._critical.appendleft(mail)

    def take(self) -> Mail | None:
        """Take the next mail, critical lane first; `None` when there is none."""
        try:
            return self._critical.popleft()
        except IndexError:
            pass
        if not self._market:
            return None
        with self._lock:
            for key in self._market:
                return self._market.pop(key)
        return None

    def depth(self) -> int:
        """Count the waiting mail of both lanes."""
        return len(self._critical) + len(self._market)

    def oldest_utc(self) -> int | None:
        """Give the instant at which the next critical mail was sent; `None` when none waits."""
        try:
            return self._critical[0].sent_utc
        except IndexError:
            return None
