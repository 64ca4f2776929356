"""Helpers of the signal tests: run an actor over a history of messages, and build rows and readings by hand."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import numpy as np

from config.settings import load_settings
from domain.instants import BUCKET_NS, at_exchange
from domain.options.profile import (
    GEX_SCALARS,
    GREEK_SCALARS,
    PRIORS,
    SCALARS,
    VALUE_COLUMNS,
    Profile,
    Row,
    Rows,
    shape_of,
)
from messages import lifecycle
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import Tell

SETTINGS = load_settings(profile="real")
SESSION = date(2026, 11, 20)
OPEN = at_exchange(SESSION, time(9, 30))
CLOSE = at_exchange(SESSION, time(16, 0))


def clock(hour: int, minute: int = 0, second: int = 0) -> int:
    """Give an instant of the tests' session."""
    return at_exchange(SESSION, time(hour, minute, second))


def started(name: str, incarnation: int = 1, restored: Any = None, run_n: int = 3) -> lifecycle.Started:
    """Make the first envelope of an incarnation."""
    return lifecycle.Started(name=name, incarnation=incarnation, run_n=run_n, restored=restored)


class History:
    """An actor fed with messages; keeps the state and every effect."""

    def __init__(self, actor: Actor[Any], now: int = 0) -> None:
        self.actor = actor
        self.state = actor.initial()
        self.now = now

    def hear(self, message: Message, now: int | None = None) -> list[Any]:
        """Give one message to the actor; give its effects."""
        if now is not None:
            self.now = now
        self.state, effects = self.actor.decide(self.state, message, self.now)
        return list(effects)

    def fire(self, key: str, now: int) -> list[Any]:
        """Let a timer fire."""
        return self.hear(lifecycle.TimerFired(key=key, due_utc=now), now)


def told(effects: list[Any], kind: type[Message] | None = None, to: str | None = None) -> list[Any]:
    """Give the messages among effects, of one kind and to one role or address where asked."""
    tells = [e for e in effects if isinstance(e, Tell)]
    return [e.message for e in tells if (kind is None or isinstance(e.message, kind)) and (to is None or e.to == to)]


def profile(ticker: str, category: str, spot: int, **scalars: int) -> Profile:
    """Make a profile with three strikes around spot; iv 0.20 at all of them."""
    shape = shape_of(category)
    names = SCALARS[shape]
    assert set(scalars) <= {*GEX_SCALARS, *GREEK_SCALARS, *names}
    strikes = np.array([spot - 500, spot + 100, spot + 500], np.int32)
    width = len(VALUE_COLUMNS[shape])
    values = np.full((3, width), 200, np.int32)
    priors = np.zeros((3, PRIORS[shape]), np.int32)
    return Profile(ticker, category, OPEN, spot, tuple(scalars.get(n, 0) for n in names), strikes, values, priors)


def rows_of(hub: str, bucket_utc: int, *profiles: Profile) -> Rows:
    """Make a hub's rows of a bucket."""
    rows = tuple(Row(p, hub, 5, bucket_utc, bucket_utc + BUCKET_NS - 1) for p in profiles)
    return Rows(f"{hub}/{bucket_utc}", rows)
