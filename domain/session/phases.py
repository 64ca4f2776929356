"""Phases of a trading day, relative to its close C (16:00, or 13:00 on a half day)."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where in the day we are, in order.

    With the default settings: `PRE` from midnight, `OPEN` 09:30, `ENTRY` 09:35, `LATE` C-45 (no entries), `PANIC` C-25,
    `FLATTEN` C-15, `CLOSED` C. `CLOSED_DAY` is a whole date without trading.
    """

    CLOSED_DAY = "closed_day"
    PRE = "pre"
    OPEN = "open"
    ENTRY = "entry"
    LATE = "late"
    PANIC = "panic"
    FLATTEN = "flatten"
    CLOSED = "closed"


EVALUATED = frozenset({Phase.OPEN, Phase.ENTRY})  # phases in which lanes look for alerts
REGULAR = frozenset({Phase.OPEN, Phase.ENTRY, Phase.LATE, Phase.PANIC, Phase.FLATTEN})  # regular trading hours
