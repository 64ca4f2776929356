"""The exchange's calendar: sessions of NYSE and Cboe, their half days and closures, and the phases of a day.

Closures and half days come from the maintained calendar of the `holidays` library (why that one: decision 5), our own
overrides from the settings lie on top. All wall clocks are New York's; instants are UTC, so that daylight saving shows
only here.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, time, timedelta
from functools import lru_cache
from typing import Final

import msgspec
from holidays import financial_holidays
from holidays.constants import HALF_DAY

from domain.instants import BUCKET_NS, MS, at_exchange
from domain.limits import DayRules
from domain.session.phases import Phase
from domain.units import Utc

EXCHANGE: Final = "XNYS"  # Cboe's index options keep the same dates
OPEN: Final = time(9, 30)
CLOSE: Final = time(16, 0)
EARLY_CLOSE: Final = time(13, 0)

_SATURDAY = 5


class TradingDay(msgspec.Struct, frozen=True):
    """One session: its regular hours as instants."""

    session: date
    open_utc: Utc
    close_utc: Utc
    is_half: bool

    @property
    def buckets(self) -> int:
        """How many 30 s buckets the session has (780 in a full day, 420 in a half)."""
        return (self.close_utc - self.open_utc) // BUCKET_NS


@lru_cache(maxsize=64)
def closures(year: int) -> dict[date, str]:
    """Return the dates of a year on which the exchange is closed all day, with the occasion, weekends left out."""
    return dict(financial_holidays(EXCHANGE, years=year))


@lru_cache(maxsize=64)
def half_days(year: int) -> frozenset[date]:
    """Return the sessions of a year that close at 13:00."""
    return frozenset(financial_holidays(EXCHANGE, years=year, categories=(HALF_DAY,)))


def day(session: date, closed_dates: Collection[date] = ()) -> TradingDay | None:
    """Return a session's hours; `None` where the exchange is closed all day.

    Args:
        session: New York's date.
        closed_dates: further closures, announced after the library was released.
    """
    if session.weekday() >= _SATURDAY or session in closures(session.year) or session in closed_dates:
        return None
    is_half = session in half_days(session.year)
    close = EARLY_CLOSE if is_half else CLOSE
    return TradingDay(session, at_exchange(session, OPEN), at_exchange(session, close), is_half)


def next_session(after: date, closed_dates: Collection[date] = ()) -> TradingDay:
    """Return the first session after a date."""
    following = after + timedelta(days=1)
    while (found := day(following, closed_dates)) is None:
        following += timedelta(days=1)
    return found


def phase_starts(trading_day: TradingDay, rules: DayRules) -> tuple[tuple[Utc, Phase], ...]:
    """Return the instants at which the phases after `PRE` begin, ascending."""
    close_utc = trading_day.close_utc
    return (
        (trading_day.open_utc, Phase.OPEN),
        (trading_day.open_utc + rules.entry_after_open_ms * MS, Phase.ENTRY),
        (close_utc - rules.entry_stop_ms * MS, Phase.LATE),
        (close_utc - rules.panic_ms * MS, Phase.PANIC),
        (close_utc - rules.flatten_ms * MS, Phase.FLATTEN),
        (close_utc, Phase.CLOSED),
    )


def phase_at(trading_day: TradingDay | None, instant_utc: Utc, rules: DayRules) -> Phase:
    """Return the phase at an instant of the session's date; `trading_day` `None` is a day without trading."""
    if trading_day is None:
        return Phase.CLOSED_DAY
    phase = Phase.PRE
    for start_utc, begins in phase_starts(trading_day, rules):
        if instant_utc >= start_utc:
            phase = begins
    return phase


def closure_of(session: date, closed_dates: Collection[date] = ()) -> str:
    """Return why a date without trading has none, for people (`weekend`, `Thanksgiving Day`); empty for a session."""
    if session.weekday() >= _SATURDAY:
        return "weekend"
    if session in closures(session.year):
        return closures(session.year)[session]
    return "closed by the settings" if session in closed_dates else ""


def next_midnight(session: date) -> Utc:
    """Return the instant at which the next New York date begins."""
    return at_exchange(session + timedelta(days=1), time())
