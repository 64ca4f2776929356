"""What an actor is: a name, an initial state and one decision; the shells of the two runtimes host it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from messages.base import Message
from supervision.effects import Effects

S = TypeVar("S")


class Actor(ABC, Generic[S]):
    """A deterministic actor: state and one pure decision.

    The state is immutable (a frozen `msgspec.Struct`, changed by `msgspec.structs.replace`), so that a crash in
    `decide` leaves no half state. The first message of every incarnation is `lifecycle.Started`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def initial(self) -> S:
        """Give the state before `Started`."""

    @abstractmethod
    def decide(self, state: S, message: Message, now: int) -> tuple[S, Effects]:
        """Give the next state and what is to be done about `message` at the instant `now` (UTC ns)."""


class IoActor(ABC):
    """An actor that does I/O while handling (ledger, warehouse, journal): it is not replayed.

    An exception is a failed delivery: the message comes again to the next incarnation, `max_deliveries` times.
    """

    max_deliveries = 3

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self) -> None:  # noqa: B027 - not every actor holds something
        """Acquire what the actor needs, from whatever state it is in; called in its own thread before `Started`."""

    @abstractmethod
    def handle(self, message: Message, now: int) -> Effects:
        """Carry out `message` at the instant `now` and give what is to be told."""

    def close(self) -> None:  # noqa: B027 - the same
        """Release what `open` acquired, which may be nothing."""
