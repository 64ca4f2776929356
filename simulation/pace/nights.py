"""The nights of a simulated market that nobody leads: they are skipped, so that it is in a session at any hour."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import date, timedelta
from typing import Final

from domain.instants import MINUTE, session_of
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.units import Utc
from supervision.clock import MarketClock

SKIP_RATE: Final = 20_000.0  # market seconds a real second: a night in 3 s
AFTER_CLOSE_NS: Final = 10 * MINUTE
_LOOK_S: Final = 0.2


def session_at(now: Utc, closed_dates: Collection[date] = ()) -> TradingDay:
    """Return the session of the present date in New York; where it has none, the next one."""
    today = session_of(now)
    while (found := calendar.day(today, closed_dates)) is None:
        today += timedelta(days=1)
    return found


def session_after(day: TradingDay, closed_dates: Collection[date] = ()) -> TradingDay:
    """Return the session that follows another."""
    return session_at(calendar.next_midnight(day.session), closed_dates)


async def skip_nights(clock: MarketClock, rate: float, closed_dates: Collection[date] = ()) -> None:
    """Lead a clock over every night, from ten minutes after a close to the next open; for ever.

    A night that the clock began in is told, and passes as it is.
    """
    day = session_at(clock.now_utc(), closed_dates)
    if clock.now_utc() >= day.close_utc:
        day = session_after(day, closed_dates)
    while True:
        await _wait(clock, Utc(day.close_utc + AFTER_CLOSE_NS))
        day = session_after(day, closed_dates)
        clock.follow(max(rate, SKIP_RATE), day.open_utc)
        await _wait(clock, day.open_utc)
        clock.follow(rate)


async def _wait(clock: MarketClock, until_utc: Utc) -> None:
    while (left_s := clock.real_wait_s(until_utc)) > 0:
        await asyncio.sleep(min(left_s, _LOOK_S))
