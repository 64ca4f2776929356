"""The base of every message: frozen, keyword-only, tagged `<conversation>.<Name>` in the trace.

There are three kinds. A *command* is told to a role: do something, or answer. A *report* answers whoever asked, or
tells an owner what a port heard. An *event* is published: it happened, and who hears it stands in the table of
subscribers in `main.py`, never in the sender.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

SCHEMA = 2


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What one actor says to another; every field is immutable all the way down.

    Traits of a class, for the runtime: `IS_VITAL`, losing one in silence could cost money, so a dead letter of it halts
    entries and asks for a reconciliation; `CONFLATES`, only the newest of a `slot` matters, so it travels in the market
    lane of a mailbox; `GOES_FIRST`, an order waits for it: until the I/O actor that it is told to has handled it, or
    the port has spoken, nobody else who was told something is woken (live, for a moment at most). Traits of one
    message: `is_synced_first`, the trace is durable before it leaves for a port; `stops_everything`, whoever should
    have carried it out wanted everything closed, so that is done without him.
    """

    IS_VITAL: ClassVar[bool] = False
    CONFLATES: ClassVar[bool] = False
    GOES_FIRST: ClassVar[bool] = False

    def slot(self) -> str:
        """Return what the newest message replaces (of classes that conflate)."""
        return type(self).__name__

    def rank(self) -> int:
        """Return in which turn it is served (of classes that conflate): lower first, equal ones as they came."""
        return 0

    def is_synced_first(self) -> bool:
        """Return whether the trace must be durable before this leaves for a port."""
        return False

    def stops_everything(self) -> bool:
        """Return whether losing this means that nobody closes what is open."""
        return False


class Command(Message, frozen=True, kw_only=True):
    """Told to one role: it should do something, or answer."""


class Report(Message, frozen=True, kw_only=True):
    """Told to one address: the answer to a request, or what a port heard."""


class Event(Message, frozen=True, kw_only=True):
    """Published: it happened. Who hears it stands in the table of subscribers, never in the sender."""
