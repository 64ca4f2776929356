"""What an actor is: a name, an initial state and one decision; the shells of the two runtimes host it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec

from supervision.turn import Turn

S = TypeVar("S", bound=msgspec.Struct)
M = TypeVar("M")


class Actor(ABC, Generic[S, M]):
    """A deterministic actor: state and one pure decision.

    `S` is its state: a `msgspec.Struct` whose fields are assigned in place (`turn.state.level = ...`) and whose values
    are immutable, so that the shallow copy of a turn is safe. `M` is its inbox: the closed union of what it may be
    sent, `lifecycle.Started` first in every incarnation. `decide` matches it exhaustively and ends in `assert_never`.

    `weighs` are the kinds of timers after which somebody is blamed for a silence: `TimerFired` says of them how much of
    the wait the machine did not run this process.
    """

    weighs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def initial(self) -> S:
        """Return the state before `Started`."""

    @abstractmethod
    def decide(self, turn: Turn[S], message: M) -> None:
        """Handle one message: assign state, tell, publish, arm. A raise keeps neither state nor effects."""


class IoActor(ABC, Generic[M]):
    """An actor that does I/O while handling (ledger, warehouse): it is not replayed, and a turn of it has no state.

    An exception is a failed delivery: the message comes again to the next incarnation, `max_deliveries` times.
    `is_bound`: what it holds belongs to the thread that opened it; otherwise any thread may handle its mail, one at a
    time.
    """

    max_deliveries = 3
    is_bound = True

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self) -> None:
        """Acquire what the actor needs, from whatever state it is in; called in its own thread before `Started`."""

    @abstractmethod
    def handle(self, turn: Turn[None], message: M) -> None:
        """Carry out one message and tell what became of it."""

    def close(self) -> None:
        """Release what `open` acquired, which may be nothing."""


AnyActor = Actor[Any, Any] | IoActor[Any]


def inbox_of(actor: type[Actor[Any, Any]] | type[IoActor[Any]]) -> frozenset[type[Any]]:
    """Return the message classes of an actor's inbox, read from its base (`Actor[State, Inbox]`, `IoActor[Inbox]`).

    Raises:
        TypeError: the class does not say what its inbox is.
    """
    for base in getattr(actor, "__orig_bases__", ()):
        if get_origin(base) in (Actor, IoActor):
            inbox = get_args(base)[-1]
            return frozenset(get_args(inbox) or (inbox,))
    raise TypeError(f"{actor.__name__} must derive from Actor[State, Inbox] or IoActor[Inbox]")
