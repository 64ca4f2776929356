"""The day of one position, from the calendar alone: its own panic window, flatten time, close and settlement.

No other actor's health decides whether a position closes: it knows these instants from the moment it opens.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from domain.instants import MS, at_exchange, session_of
from domain.limits import DayRules
from domain.session import calendar
from domain.session.phases import Phase
from domain.units import Utc

_ORDER: Final = {phase: n for n, phase in enumerate(Phase)}


class DayMark(StrEnum):
    """Instants of a position's day at which it looks up by itself."""

    PANIC = "panic"
    FLATTEN = "flatten"
    VERIFY = "verify"  # not flat is worth a page
    VERIFY_AGAIN = "verify_again"
    CLOSE = "close"
    SETTLE = "settle"  # the result of what expired is booked, whether or not the broker's book is empty by now
    OVER = "over"  # the date ends


class PositionDay(msgspec.Struct, frozen=True):
    """One session as a position sees it: `starts` of its phases and `marks`, ascending.

    `close_utc` is 16:00 where the exchange is closed all day (a closure that nobody foresaw).
    """

    session: date
    is_trading: bool
    close_utc: Utc
    starts: tuple[tuple[Utc, Phase], ...]
    marks: tuple[tuple[Utc, DayMark], ...]


def day_of(expiry: date, now: Utc, rules: DayRules) -> PositionDay:
    """Return the day of a contract: its expiry's, or today's while that is still to come."""
    return _day(min(expiry, session_of(now)), rules)


@lru_cache(maxsize=16)
def _day(session: date, rules: DayRules) -> PositionDay:
    trading_day = calendar.day(session, rules.closed_dates)
    over_utc = calendar.next_midnight(session)
    if trading_day is None:
        close_utc = at_exchange(session, calendar.CLOSE)
        starts: tuple[tuple[Utc, Phase], ...] = ((close_utc, Phase.CLOSED),)
    else:
        close_utc, starts = trading_day.close_utc, calendar.phase_starts(trading_day, rules)
    settle_utc = close_utc + rules.settlement_ms * MS * 4 // 5  # before the day's row is written, so that it is in it
    marks = (
        (close_utc - rules.panic_ms * MS, DayMark.PANIC),
        (close_utc - rules.flatten_ms * MS, DayMark.FLATTEN),
        (close_utc - rules.verify_flat_ms * MS, DayMark.VERIFY),
        (close_utc - rules.verify_flat_again_ms * MS, DayMark.VERIFY_AGAIN),
        (close_utc, DayMark.CLOSE),
        (settle_utc, DayMark.SETTLE),
        (over_utc, DayMark.OVER),
    )
    return PositionDay(session, trading_day is not None, close_utc, starts, marks)


def phase_of(day: PositionDay, now: Utc) -> Phase:
    """Return the phase at an instant; after the day's end it stays `CLOSED`."""
    phase = Phase.PRE if day.is_trading else Phase.CLOSED_DAY
    for start_utc, begins in day.starts:
        if now < start_utc:
            break
        phase = begins
    return phase


def next_mark(day: PositionDay, now: Utc) -> tuple[Utc, DayMark] | None:
    """Return the next instant at which the position looks up, and which; `None` after the last."""
    return next((mark for mark in day.marks if mark[0] > now), None)


def is_over(day: PositionDay, now: Utc) -> bool:
    """Return whether nothing of the day is to come: what expired is gone."""
    return day.marks[-1][0] <= now and next_mark(day, now) is None


def settle_utc(day: PositionDay) -> Utc:
    """Return the instant from which what expired is booked without waiting for the broker's book."""
    return next(at_utc for at_utc, mark in day.marks if mark is DayMark.SETTLE)


def flatten_utc(day: PositionDay) -> Utc:
    """Return the instant at which everything is closed."""
    return next(at_utc for at_utc, mark in day.marks if mark is DayMark.FLATTEN)


def later(own: Phase, told: Phase) -> Phase:
    """Return the later of two words on the same day's phase: an unforeseen early close counts, a late word does not."""
    if own is told or own is Phase.CLOSED:
        return own
    return Phase.CLOSED_DAY if Phase.CLOSED_DAY in (own, told) else max(own, told, key=_ORDER.__getitem__)
