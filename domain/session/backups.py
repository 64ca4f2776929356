"""When a backup is due, and when the newest one is too old."""

from __future__ import annotations

from datetime import time, timedelta

from domain.instants import MS, at_exchange, session_of
from domain.units import Utc


def due_since(now_utc: Utc, at: time) -> Utc:
    """Return the last instant at which New York's clock read `at`: a backup made before it is not of its day."""
    today = session_of(now_utc)
    this_utc = at_exchange(today, at)
    return this_utc if this_utc <= now_utc else at_exchange(today - timedelta(days=1), at)


def is_due(last_utc: Utc | None, now_utc: Utc, at: time) -> bool:
    """Return whether the day's backup is to be made; `last_utc` is when the newest one was, `None`: there is none."""
    return last_utc is None or last_utc < due_since(now_utc, at)


def is_overdue(last_utc: Utc | None, begun_utc: Utc, now_utc: Utc, overdue_ms: int) -> bool:
    """Return whether the newest backup is too old; where there is none, whether it was waited for as long as that."""
    return now_utc - (begun_utc if last_utc is None else last_utc) > overdue_ms * MS
