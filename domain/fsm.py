"""The engine of every state machine: a table of transitions and a table of ignored pairs with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


class IllegalTransition(Exception):  # noqa: N818 - the name under which such an error is known
    """An event reached a state that neither table knows it in: a bug, never a fact of the market."""


class Machine(Generic[S, E]):
    """A state machine as a table.

    Args:
        name: for messages and the reference page.
        transitions: (state, event) to the next state.
        ignored: (state, event) pairs that are legal and change nothing, each with the reason.

    Raises:
        ValueError: a pair stands in both tables.
    """

    def __init__(self, name: str, transitions: Mapping[tuple[S, E], S], ignored: Mapping[tuple[S, E], str]) -> None:
        both = transitions.keys() & ignored.keys()
        if both:
            raise ValueError(f"{name}: {sorted(map(str, both))} both change the state and are ignored")
        self.name = name
        self.transitions = transitions
        self.ignored = ignored

    def next(self, state: S, event: E) -> S:
        """Return the state after an event; the same one where the event is ignored.

        Raises:
            IllegalTransition: the pair stands in neither table.
        """
        after = self.transitions.get((state, event))
        if after is not None:
            return after
        if (state, event) in self.ignored:
            return state
        raise IllegalTransition(f"{self.name}: {event.value} cannot happen in {state.value}")

    def changes(self, state: S, event: E) -> bool:
        """Return whether the event is a transition of this state (to itself included) and not an ignored pair."""
        return (state, event) in self.transitions
