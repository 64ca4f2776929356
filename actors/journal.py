"""The journal's actor: what is told to it stands on record by being told; it counts, so that a report can say how much.

hears: NotEvaluated, Alarm, DayFlattened, PhaseChanged · says: nothing · on crash: counts start again, the record stands
"""

from __future__ import annotations

from collections import Counter

import msgspec

from messages import lifecycle, signals
from messages.base import Message
from messages.envelope import tag_of
from supervision.actor import Actor
from supervision.effects import Effects


class JournalState(msgspec.Struct, frozen=True):
    """How often each thing was said, by type and, for what was not evaluated, by reason."""

    counts: tuple[tuple[str, int], ...] = ()


class JournalActor(Actor[JournalState]):
    """A place to tell things to that nobody acts on."""

    def initial(self) -> JournalState:
        """Nothing was said."""
        return JournalState()

    def decide(self, state: JournalState, message: Message, now: int) -> tuple[JournalState, Effects]:
        """Count."""
        if isinstance(message, lifecycle.Started):
            return state, ()
        key = message.why if isinstance(message, signals.NotEvaluated) else tag_of(message)
        counts = Counter(dict(state.counts))
        counts[key] += 1
        return JournalState(tuple(sorted(counts.items()))), ()
