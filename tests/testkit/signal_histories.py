"""Helpers of the signal tests: settings, instants of a session, and rows and readings made by hand."""

from __future__ import annotations

from datetime import date, time

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
from domain.units import Ticks, Utc
from messages import lifecycle

SETTINGS = load_settings(profile="real")
SESSION = date(2026, 11, 20)
OPEN = at_exchange(SESSION, time(9, 30))
CLOSE = at_exchange(SESSION, time(16, 0))


def clock(hour: int, minute: int = 0, second: int = 0) -> Utc:
    """Return an instant of the tests' session."""
    return at_exchange(SESSION, time(hour, minute, second))


def fired(kind: str, subject: object = "") -> lifecycle.TimerFired:
    """Return a timer that was in the mail already when its actor disarmed it."""
    return lifecycle.TimerFired(kind=kind, subject=str(subject), due_utc=Utc(0))


def profile(ticker: str, category: str, spot: Ticks, **scalars: int) -> Profile:
    """Return a profile with three strikes around spot; iv 0.20 at all of them."""
    shape = shape_of(category)
    names = SCALARS[shape]
    assert set(scalars) <= {*GEX_SCALARS, *GREEK_SCALARS, *names}
    strikes = np.array([spot - 500, spot + 100, spot + 500], np.int32)
    width = len(VALUE_COLUMNS[shape])
    values = np.full((3, width), 200, np.int32)
    priors = np.zeros((3, PRIORS[shape]), np.int32)
    return Profile(ticker, category, OPEN, spot, tuple(scalars.get(n, 0) for n in names), strikes, values, priors)


def rows_of(hub: str, bucket_utc: Utc, *profiles: Profile) -> Rows:
    """Return a hub's rows of a bucket."""
    rows = tuple(Row(p, hub, 5, bucket_utc, bucket_utc + BUCKET_NS - 1) for p in profiles)
    return Rows(f"{hub}/{bucket_utc}", rows)
