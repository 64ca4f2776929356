"""Hours, next sessions and expiries of simulated markets: the exchange's calendar, in the demo and in stepped days."""

from __future__ import annotations

from datetime import date, time

import pytest

from config.settings import load_settings
from domain.instants import MINUTE, SECOND, at_exchange, session_of
from domain.session import calendar
from simulation.days.plan import FIRST_DATES
from simulation.days.tape import market_for
from simulation.market.from_settings import market_of
from simulation.market.market import Market

THANKSGIVING = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("session", "following", "closes"),
    [
        (date(2026, 11, 20), date(2026, 11, 23), time(16, 0)),  # over a weekend
        (date(2026, 11, 25), date(2026, 11, 27), time(13, 0)),  # over Thanksgiving, to a half day
        (date(2026, 12, 24), date(2026, 12, 28), time(16, 0)),  # from a half day, over Christmas and a weekend
        (date(2026, 7, 2), date(2026, 7, 6), time(16, 0)),  # over Independence Day as it is observed
        (date(2026, 1, 16), date(2026, 1, 20), time(16, 0)),  # over a weekend and Martin Luther King's day
    ],
)
def test_the_next_expiry_is_the_next_session_and_ends_when_that_one_closes(
    session: date, following: date, closes: time
) -> None:
    market = Market(1, session, ("SPX",))
    assert {c.expiry for c in market.contracts("SPX")} == {session, following}
    _, ends_utc = market.chain("SPX")
    assert sorted(set(ends_utc.tolist())) == [market.close_utc, at_exchange(following, closes)]


@pytest.mark.parametrize("session", [date(2026, 11, 27), date(2026, 12, 24)])
def test_a_half_day_of_the_calendar_closes_at_one_in_the_demo_and_in_stepped_days(session: date) -> None:
    close_utc = at_exchange(session, time(13, 0))
    assert Market(1, session, ("SPX",)).close_utc == close_utc
    assert market_of(load_settings(None, "demo", {"demo": {"session": session.isoformat()}})).close_utc == close_utc
    assert market_for(1, session, ("SPX",)).close_utc == close_utc


def test_expiries_of_the_days_that_are_simulated_are_all_sessions() -> None:
    for session in FIRST_DATES:
        for contract in market_for(1, session, ("SPX",)).contracts("SPX"):
            assert calendar.day(contract.expiry) is not None


def test_a_market_that_rolls_goes_over_a_holiday_to_a_half_day_and_over_a_closure_of_the_settings() -> None:
    market = Market(1, date(2026, 11, 25), ("SPX",), rolls=True, closed_dates=(date(2026, 11, 30),))
    market.step(at_exchange(THANKSGIVING, time(12, 0)))
    assert market.session == date(2026, 11, 25), "the exchange is closed: nothing has begun"
    market.step(at_exchange(date(2026, 11, 27), time(9, 30)))
    assert (market.session, market.close_utc - market.open_utc) == (date(2026, 11, 27), 210 * MINUTE)
    assert {c.expiry for c in market.contracts("SPX")} == {date(2026, 11, 27), date(2026, 12, 1)}
    market.step(at_exchange(date(2026, 11, 30), time(12, 0)))
    assert market.session == date(2026, 11, 27)
    market.step(at_exchange(date(2026, 12, 1), time(9, 30)) + SECOND)
    assert market.session == date(2026, 12, 1) == session_of(market.open_utc)
