"""A probe: feeds messages to one actor without a runtime, and reads what it told, published and armed."""

from __future__ import annotations

from copy import copy
from typing import Any, Generic, TypeVar

import msgspec

from domain.units import Utc
from messages import lifecycle
from messages.base import Event, Message
from messages.restored import Restored
from supervision.actor import Actor
from supervision.effects import CancelTimer, Effect, Publish, Retire, SetTimer, Tell
from supervision.turn import Turn

S = TypeVar("S", bound=msgspec.Struct)
E = TypeVar("E", bound=Event)
T = TypeVar("T", bound=Message)


class Outbox:
    """What one or several turns sent out, in order."""

    def __init__(self, effects: list[Effect]) -> None:
        self.effects = effects

    def told(self, wanted: type[T], to: str | None = None) -> list[T]:
        """Return the messages of a class that were told (commands and reports), to one role or to anybody."""
        return [
            effect.message
            for effect in self.effects
            if isinstance(effect, Tell) and isinstance(effect.message, wanted) and to in (None, effect.to)
        ]

    def recipients(self, wanted: type[Message]) -> list[str]:
        """Return to whom the messages of a class were told."""
        return [e.to for e in self.effects if isinstance(e, Tell) and isinstance(e.message, wanted)]

    def published(self, wanted: type[E]) -> list[E]:
        """Return the events of a class that were published."""
        return [e.event for e in self.effects if isinstance(e, Publish) and isinstance(e.event, wanted)]

    @property
    def messages(self) -> list[Message]:
        """Everything that was told or published."""
        return [
            effect.message if isinstance(effect, Tell) else effect.event
            for effect in self.effects
            if isinstance(effect, Tell | Publish)
        ]

    @property
    def is_retired(self) -> bool:
        """Whether the actor ended itself."""
        return any(isinstance(effect, Retire) for effect in self.effects)


class Probe(Generic[S]):
    """One actor under test: its state, its running timers, and everything it has sent out (`sent`)."""

    def __init__(self, actor: Actor[S, Any], now: Utc) -> None:
        self.actor = actor
        self.now = now
        self.state = actor.initial()
        self.timers: dict[tuple[str, str], Utc] = {}
        self.excused_ms: dict[tuple[str, str], int] = {}
        self.sent = Outbox([])

    def feed(self, message: Message, at: Utc | None = None) -> Outbox:
        """Handle one message at an instant (the last one where none is given); return what this turn sent out."""
        self.now = self.now if at is None else at
        turn = Turn(self.actor.name, copy(self.state), self.now)
        self.actor.decide(turn, message)
        self.state = turn.state
        for effect in turn.effects:
            match effect:
                case SetTimer():
                    self.timers[effect.kind, effect.subject] = effect.at_utc
                    self.excused_ms[effect.kind, effect.subject] = effect.excused_ms
                case CancelTimer():
                    self.timers.pop((effect.kind, effect.subject), None)
                case _:
                    pass
        self.sent.effects += turn.effects
        return Outbox(turn.effects)

    def start(self, restored: Restored | None = None, incarnation: int = 1, run_n: int = 1) -> Outbox:
        """Feed `Started`."""
        return self.feed(
            lifecycle.Started(name=self.actor.name, incarnation=incarnation, run_n=run_n, restored=restored)
        )

    def fire(self, kind: str, subject: str = "", starved_ms: int = 0) -> Outbox:
        """Let a running timer come due, at its own instant; so much of the wait the machine kept us waiting.

        Raises:
            KeyError: no such timer is armed.
        """
        due_utc = self.timers.pop((kind, subject))
        fired = lifecycle.TimerFired(
            kind=kind, subject=subject, due_utc=due_utc, starved_ms=starved_ms,
            excused_ms=self.excused_ms[kind, subject],
        )  # fmt: skip
        return self.feed(fired, max(self.now, due_utc))

    def advance(self, to_utc: Utc) -> Outbox:
        """Let everything come due up to an instant, in order, and stand there."""
        start = len(self.sent.effects)
        while due := [(at, key) for key, at in self.timers.items() if at <= to_utc]:
            self.fire(*min(due)[1])
        self.now = to_utc
        return Outbox(self.sent.effects[start:])
