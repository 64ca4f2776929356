"""Instants, durations and exchange dates: integer nanoseconds since the epoch, UTC, and `session` dates in New York.

An instant is a `Utc` and its name ends in `_utc`; a duration names its unit (`_ms`, `_s`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

from domain.units import Utc

MS = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
BUCKET_NS = 30 * SECOND

NEW_YORK = ZoneInfo("America/New_York")
_HOUR = 60 * MINUTE
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def from_datetime(moment: datetime) -> Utc:
    """Return the instant of an aware datetime, exact to the microsecond.

    Raises:
        ValueError: the datetime has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; give it one")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return Utc((delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1_000)


def to_datetime(instant_utc: Utc) -> datetime:
    """Return the aware UTC datetime of an instant, cut to the microsecond."""
    seconds, ns = divmod(instant_utc, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1_000)


def at_exchange(session: date, clock: time) -> Utc:
    """Return the instant at which New York's wall clock reads `clock` on `session`."""
    return from_datetime(datetime.combine(session, clock, NEW_YORK))


@lru_cache(maxsize=64)
def _offset_ns(hour: int) -> int:
    """Return New York's offset in an hour since the epoch; it changes at full hours only."""
    offset = datetime.fromtimestamp(hour * 3_600, UTC).astimezone(NEW_YORK).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * SECOND


@lru_cache(maxsize=64)
def _date(day: int) -> date:
    """Return the date so many days after the epoch."""
    return date.fromordinal(_EPOCH_ORDINAL + day)


def _local_s(instant_utc: Utc) -> int:
    """Return the seconds since the epoch that New York's wall clock shows, as if it were UTC."""
    return (instant_utc + _offset_ns(instant_utc // _HOUR)) // SECOND


def full_second(instant_utc: Utc) -> Utc:
    """Return the instant at the next full second, or itself where it is one: a venue knows no finer ones."""
    return Utc(-(-instant_utc // SECOND) * SECOND)


def session_of(instant_utc: Utc) -> date:
    """Return New York's date at an instant."""
    return _date(_local_s(instant_utc) // 86_400)


def exchange_clock(instant_utc: Utc) -> str:
    """Return New York's wall clock at an instant as `HH:MM:SS`."""
    minutes, seconds = divmod(_local_s(instant_utc) % 86_400, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


def bucket_of(instant_utc: Utc) -> Utc:
    """Return the start of the 30 s bucket that an instant falls into."""
    return instant_utc - instant_utc % BUCKET_NS
