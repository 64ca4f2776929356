"""A turn: what an actor has in hand while it handles one message."""

from __future__ import annotations

from typing import Generic, TypeVar

from domain.units import Utc
from messages.base import Command, Event, Report
from supervision.effects import CancelTimer, Effect, Publish, Retire, SetTimer, Tell

S = TypeVar("S")


class Turn(Generic[S]):
    """One message's turn: `state` replaces the old one, and `effects` are carried out in order, if nothing raised.

    `state` is the actor's own shallow copy: fields are assigned as they are, values inside are immutable. `now` is the
    instant at which the message was taken from the mailbox, the only time there is. `name` is the actor's address.
    """

    __slots__ = ("effects", "name", "now", "state")

    def __init__(self, name: str, state: S, now: Utc) -> None:
        self.name = name
        self.state = state
        self.now = now
        self.effects: list[Effect] = []

    def tell(self, role: str, command: Command) -> None:
        """Tell a command to a role, or to an address."""
        self.effects.append(Tell(role, command))

    def report(self, to: str, fact: Report | Event) -> None:
        """Answer whoever asked (`reply_to`), or tell an owner what became of its subject."""
        self.effects.append(Tell(to, fact))

    def publish(self, event: Event) -> None:
        """Let everybody know who subscribes to this event; the sender does not know who that is."""
        self.effects.append(Publish(event))

    def arm(self, kind: str, at_utc: Utc, subject: str = "", excused_ms: int = 0) -> None:
        """Arm (or move) the timer of this kind and subject: it comes, with `excused_ms`, at `at_utc` or soon after."""
        self.effects.append(SetTimer(kind, subject, at_utc, excused_ms))

    def disarm(self, kind: str, subject: str = "") -> None:
        """Disarm a timer; nothing happens where none is armed."""
        self.effects.append(CancelTimer(kind, subject))

    def retire(self) -> None:
        """End this actor for good once the turn is over."""
        self.effects.append(Retire())
