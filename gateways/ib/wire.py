"""What stands in one field of a message of IB: a number, an instant, hours; each is a value or unknown (`None`).

A side field that nobody can read must not cost the message it stands in, so nothing here raises. IB has several words
for "not set", and all of them are unknown here: the largest double, the largest decimal (1.7014118346046923E38), the
largest integers, NaN, an infinity, and an empty field.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from domain.instants import MINUTE, from_datetime
from domain.units import Utc

# Nothing that IB counts, prices or values reaches this; its words for "not set" all lie beyond.
BEYOND: Final = 1e15
UNSET_INT: Final = 2_147_483_647
FUTURE_MAX_NS: Final = MINUTE  # the broker tells whole seconds, and its clock is not ours
LIVE_AGE_MAX_NS: Final = 10 * MINUTE  # what is reported as it happens does not lie further back

# Names of zones that IB uses and the zone database lacks, or that mean a place to IB and an offset to the database.
# Abbreviations of the rest of the world (IST is three places) are not guessed.
_ZONES: Final = {
    "EST": "America/New_York",
    "EDT": "America/New_York",
    "EST5EDT": "America/New_York",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "CST6CDT": "America/Chicago",
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "PST8PDT": "America/Los_Angeles",
}
_UTC_NAMES: Final = frozenset({"UTC", "GMT", "Z"})
_INSTANT = re.compile(r"(\d{8})(?: +|-)(\d{2}:\d{2}:\d{2})(?:\.\d+)?(?: +(\S.*))?")
_SESSION = re.compile(r"(?:(\d{8}):)?(\d{4})-(?:(\d{8}):)?(\d{4})")


def number_of(text: str) -> float | None:
    """Return the number in a field; `None` where there is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return known(value)


def known(value: float) -> float | None:
    """Return a number that came as one; `None` where it stands for "not set"."""
    return value if -BEYOND < value < BEYOND and value != UNSET_INT else None  # NaN compares false


def whole_of(text: str) -> int | None:
    """Return the whole number in a field, also one written as `7.0`; `None` where there is none."""
    value = number_of(text)
    return int(value) if value is not None and value == int(value) else None


def flag_of(text: str) -> bool:
    """Return whether a field says yes; what cannot be read does not."""
    return text.strip().lower() in ("1", "true")


def zone_of(name: str) -> tzinfo | None:
    """Return a zone by IB's name, as `US/Eastern` or `CST (Central Standard Time)`; `None` where it is not known."""
    first = name.split(maxsplit=1)[0] if name.strip() else ""
    if first in _UTC_NAMES:
        return UTC
    place = _ZONES.get(first, first)
    if "/" not in place:
        return None
    try:
        return ZoneInfo(place)
    except (OSError, ValueError):  # no such file, or no name of one; ZoneInfoNotFoundError is a KeyError
        return None
    except KeyError:
        return None


def instant_of(text: str) -> Utc | None:
    """Return the instant of `20261120 11:43:32 US/Eastern` or, in UTC, `20261120-16:43:32`; `None` for any other.

    A clock without a zone is that of the machine that the gateway runs on, which nobody here knows.
    """
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        return None
    day, clock, name = match.groups()
    zone = UTC if name is None and "-" in text else zone_of(name or "")
    if zone is None:
        return None
    try:
        return from_datetime(datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S").replace(tzinfo=zone))
    except ValueError:
        return None


def plausible_instant_of(text: str, heard_utc: Utc, *, is_live: bool) -> Utc | None:
    """Return the instant that a message told at `heard_utc` names; `None` where it cannot be that of the event.

    Nothing has happened in the future, and what is told as it happens (`is_live`) did not happen long ago.
    """
    at_utc = instant_of(text)
    if at_utc is None or at_utc > heard_utc + FUTURE_MAX_NS:
        return None
    return None if is_live and at_utc < heard_utc - LIVE_AGE_MAX_NS else at_utc


def hours_of(text: str, zone_name: str, session: date) -> tuple[tuple[Utc, Utc], ...] | None:
    """Return the intervals (open, close) that end on a session, ascending; empty where it is closed.

    The forms are `20261120:0930-20261120:1600`, the older `20261120:0930-1600` (several parted by commas), and
    `20261120:CLOSED`; days are parted by semicolons. `None`: the text says nothing of the session, or cannot be read.
    """
    zone = zone_of(zone_name)
    if zone is None:
        return None
    found: list[tuple[Utc, Utc]] = []
    is_told = False
    for part in text.split(";"):
        day, _, rest = part.strip().partition(":")
        if rest.upper() == "CLOSED":
            is_told |= day == f"{session:%Y%m%d}"
            continue
        for piece in part.strip().split(","):
            interval = _interval(piece.strip(), day, zone)
            if interval is None:
                if f"{session:%Y%m%d}" in part:
                    return None  # half of a day's hours is not its hours
                continue
            end_day, opens, closes = interval
            if end_day == session:
                is_told = True
                found.append((opens, closes))
    return tuple(sorted(found)) if is_told else None


def _interval(piece: str, day: str, zone: tzinfo) -> tuple[date, Utc, Utc] | None:
    """Return the date on which an interval ends, its start and its end; `None` where it cannot be read."""
    match = _SESSION.fullmatch(piece)
    if match is None:
        return None
    start_day, start, end_day, end = match.groups()
    start_day = start_day or day
    try:
        opens = datetime.strptime(f"{start_day}{start}", "%Y%m%d%H%M").replace(tzinfo=zone)
        closes = datetime.strptime(f"{end_day or start_day}{end}", "%Y%m%d%H%M").replace(tzinfo=zone)
    except ValueError:
        return None
    if end_day is None and closes <= opens:
        closes += timedelta(days=1)  # the older form has one date for a session across midnight
    if closes <= opens:
        return None
    return closes.date(), from_datetime(opens), from_datetime(closes)


def unreached(error: OSError) -> str:
    """Return in words why an address could not be dialled."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return error.strerror or str(error) or "no answer"
