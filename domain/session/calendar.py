"""The exchange's calendar: sessions of NYSE and Cboe, their half days and holidays, and the phases of a day.

Written for sessions from 2013 on (the year from which the half day before Independence Day is always July 3).
Rules after NYSE's published holidays and hours and, for the observance of weekend holidays, NYSE Rule 7.2. All wall
clocks are New York's; instants are ns UTC, so that daylight saving shows only here.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, time, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from domain.instants import BUCKET_NS, MS, at_exchange
from domain.limits import DayRules
from domain.session.phases import Phase

OPEN: Final = time(9, 30)
CLOSE: Final = time(16, 0)
EARLY_CLOSE: Final = time(13, 0)
JUNETEENTH_SINCE: Final = 2022

# Closed without a rule: a national day of mourning each.
UNSCHEDULED: Final = frozenset({date(2018, 12, 5), date(2025, 1, 9)})

_MONDAY, _THURSDAY, _SATURDAY, _SUNDAY = 0, 3, 5, 6


class TradingDay(msgspec.Struct, frozen=True):
    """One session: its regular hours as instants (ns UTC)."""

    session: date
    open_utc: int
    close_utc: int
    is_half: bool

    @property
    def buckets(self) -> int:
        """How many 30 s buckets the session has (780 in a full day, 420 in a half)."""
        return (self.close_utc - self.open_utc) // BUCKET_NS


def easter(year: int) -> date:
    """Give Easter Sunday of a Gregorian year (the anonymous computus; Meeus, *Astronomical Algorithms*, chapter 8)."""
    golden = year % 19
    century, in_century = divmod(year, 100)
    skipped, rest = divmod(century, 4)
    correction = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - skipped - correction + 15) % 30
    leap, left = divmod(in_century, 4)
    to_sunday = (32 + 2 * rest + 2 * leap - epact - left) % 7
    shift = (golden + 11 * epact + 22 * to_sunday) // 451
    month, day = divmod(epact + to_sunday - 7 * shift + 114, 31)
    return date(year, month, day + 1)


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _observed(day: date) -> date:
    """Move a fixed holiday off the weekend: Saturday to Friday, Sunday to Monday."""
    shift = {_SATURDAY: -1, _SUNDAY: 1}.get(day.weekday(), 0)
    return day + timedelta(days=shift)


@lru_cache(maxsize=64)
def holidays(year: int) -> dict[date, str]:
    """Give the scheduled full holidays that fall into a year, by date.

    A New Year's Day on a Saturday is not observed: the Friday before ends the accounting year and is traded.
    """
    thanksgiving = _nth(year, 11, _THURSDAY, 4)
    found = {
        _nth(year, 1, _MONDAY, 3): "Martin Luther King Jr. Day",
        _nth(year, 2, _MONDAY, 3): "Washington's Birthday",
        easter(year) - timedelta(days=2): "Good Friday",
        _nth(year, 6, _MONDAY, 1) - timedelta(days=7): "Memorial Day",  # the last Monday of May
        _observed(date(year, 7, 4)): "Independence Day",
        _nth(year, 9, _MONDAY, 1): "Labor Day",
        thanksgiving: "Thanksgiving Day",
        _observed(date(year, 12, 25)): "Christmas Day",
    }
    if date(year, 1, 1).weekday() != _SATURDAY:
        found[_observed(date(year, 1, 1))] = "New Year's Day"
    if year >= JUNETEENTH_SINCE:
        found[_observed(date(year, 6, 19))] = "Juneteenth"
    return found


def is_half_day(session: date) -> bool:
    """Tell whether a trading session closes at 13:00.

    Those are July 3 before a weekday's July 4, the Friday after Thanksgiving, and December 24, where each is traded.
    """
    if session.weekday() >= _SATURDAY or session in holidays(session.year):
        return False
    if (session.month, session.day) in ((7, 3), (12, 24)):
        return True
    return session == _nth(session.year, 11, _THURSDAY, 4) + timedelta(days=1)


def day(session: date, closed_dates: Collection[str] = ()) -> TradingDay | None:
    """Give a session's hours; `None` where the exchange is closed all day.

    Args:
        session: New York's date.
        closed_dates: further closures as ISO dates (`2025-01-09`), unscheduled ones of which no rule knows.
    """
    is_closed = (
        session.weekday() >= _SATURDAY
        or session in holidays(session.year)
        or session in UNSCHEDULED
        or session.isoformat() in closed_dates
    )
    if is_closed:
        return None
    is_half = is_half_day(session)
    close = EARLY_CLOSE if is_half else CLOSE
    return TradingDay(session, at_exchange(session, OPEN), at_exchange(session, close), is_half)


def phase_starts(trading_day: TradingDay, rules: DayRules) -> tuple[tuple[int, Phase], ...]:
    """Give the instants at which the phases after `PRE` begin, ascending."""
    close_utc = trading_day.close_utc
    return (
        (trading_day.open_utc, Phase.OPEN),
        (trading_day.open_utc + rules.entry_after_open_ms * MS, Phase.ENTRY),
        (close_utc - rules.entry_stop_ms * MS, Phase.LATE),
        (close_utc - rules.panic_ms * MS, Phase.PANIC),
        (close_utc - rules.flatten_ms * MS, Phase.FLATTEN),
        (close_utc, Phase.CLOSED),
    )


def phase_at(trading_day: TradingDay | None, instant_utc: int, rules: DayRules) -> Phase:
    """Give the phase at an instant of the session's date; `trading_day` `None` is a day without trading."""
    if trading_day is None:
        return Phase.CLOSED_DAY
    phase = Phase.PRE
    for start_utc, begins in phase_starts(trading_day, rules):
        if instant_utc >= start_utc:
            phase = begins
    return phase


def next_midnight(session: date) -> int:
    """Give the instant at which the next New York date begins."""
    return at_exchange(session + timedelta(days=1), time())
