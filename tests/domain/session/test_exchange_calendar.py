"""The exchange calendar against the exchange's own rules written out, and the phases of full, half and DST days."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest

from config.settings import load_settings
from domain.instants import MINUTE, SECOND, at_exchange
from domain.session import calendar
from domain.session.phases import Phase

FIRST, LAST = 2013, 2035  # from 2013 on the half day before Independence Day is always July 3
RULES = load_settings(profile="real").day
MONDAY, THURSDAY, SATURDAY, SUNDAY = 0, 3, 5, 6
MOURNING = {date(2018, 12, 5), date(2025, 1, 9)}  # closed without a rule


def every_weekday() -> list[date]:
    start, end = date(FIRST, 1, 1), date(LAST, 12, 31)
    days = (start + timedelta(days=n) for n in range((end - start).days + 1))
    return [d for d in days if d.weekday() < SATURDAY]


def easter(year: int) -> date:
    """Return Easter Sunday (the anonymous computus; Meeus, *Astronomical Algorithms*, chapter 8)."""
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


def nth(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def observed(day: date) -> date:
    """Return where a fixed holiday is observed (NYSE Rule 7.2): Saturday's on Friday, Sunday's on Monday."""
    return day + timedelta(days={SATURDAY: -1, SUNDAY: 1}.get(day.weekday(), 0))


def closed_by_rule(year: int) -> set[date]:
    """Return the scheduled closures; a New Year's Day on a Saturday is not observed (the Friday ends the year)."""
    found = {
        nth(year, 1, MONDAY, 3),
        nth(year, 2, MONDAY, 3),
        easter(year) - timedelta(days=2),
        nth(year, 6, MONDAY, 1) - timedelta(days=7),  # Memorial Day, the last Monday of May
        observed(date(year, 7, 4)),
        nth(year, 9, MONDAY, 1),
        nth(year, 11, THURSDAY, 4),
        observed(date(year, 12, 25)),
    }
    if date(year, 1, 1).weekday() != SATURDAY:
        found.add(observed(date(year, 1, 1)))
    if year >= 2022:
        found.add(observed(date(year, 6, 19)))
    return found


def half_by_rule(session: date) -> bool:
    """Return whether a session is July 3 before a weekday's July 4, Christmas Eve, or the day after Thanksgiving."""
    after_thanksgiving = nth(session.year, 11, THURSDAY, 4) + timedelta(days=1)
    return (session.month, session.day) in ((7, 3), (12, 24)) or session == after_thanksgiving


def test_closed_days_are_those_of_the_exchanges_rules_from_2013_to_2035() -> None:
    ruled = {d for year in range(FIRST, LAST + 1) for d in closed_by_rule(year)} | MOURNING
    assert {d for d in every_weekday() if calendar.day(d) is None} == ruled


def test_half_days_are_those_of_the_exchanges_rules_from_2013_to_2035() -> None:
    sessions = {d: found for d in every_weekday() if (found := calendar.day(d)) is not None}
    assert {d for d, found in sessions.items() if found.is_half} == {d for d in sessions if half_by_rule(d)}


@pytest.mark.parametrize(
    "session",
    [date(2001, 9, 11), date(2001, 9, 14), date(2004, 6, 11), date(2007, 1, 2), date(2012, 10, 29), date(2012, 10, 30)],
)
def test_closures_that_no_rule_foresaw_are_known(session: date) -> None:
    """September 11, Reagan's and Ford's mourning, hurricane Sandy."""
    assert calendar.day(session) is None


@pytest.mark.parametrize("session", [date(2024, 12, 24), date(2025, 12, 24), date(2026, 12, 24)])
def test_christmas_eve_closes_early_where_one_library_forgets_it(session: date) -> None:
    """`CBOE_Index_Options` of pandas_market_calendars 5.5 has a full day here; decision 5."""
    found = calendar.day(session)
    assert found is not None
    assert found.is_half


@pytest.mark.parametrize(
    ("session", "close"),
    [
        (date(2026, 11, 20), time(16)),  # a plain Friday
        (date(2026, 11, 27), time(13)),  # after Thanksgiving
        (date(2026, 12, 24), time(13)),  # Christmas Eve, a Thursday
        (date(2025, 7, 3), time(13)),  # before a Friday's July 4
        (date(2021, 7, 2), time(16)),  # July 4 on a Sunday: no half day
        (date(2021, 12, 31), time(16)),  # New Year's Day 2022 fell on a Saturday and was not observed
    ],
)
def test_sessions_close_when_the_exchange_does(session: date, close: time) -> None:
    found = calendar.day(session)
    assert found is not None
    assert found.open_utc == at_exchange(session, time(9, 30))
    assert found.close_utc == at_exchange(session, close)


@pytest.mark.parametrize(
    "session",
    [date(2026, 7, 3), date(2020, 7, 3), date(2021, 12, 24), date(2022, 6, 20), date(2025, 1, 9), date(2026, 4, 3)],
)
def test_observed_and_unscheduled_holidays_are_closed(session: date) -> None:
    assert calendar.day(session) is None


def test_a_closed_date_of_the_settings_closes_an_ordinary_day() -> None:
    assert calendar.day(date(2026, 11, 20), (date(2026, 11, 20),)) is None
    assert calendar.day(date(2026, 11, 19), (date(2026, 11, 20),)) is not None


@pytest.mark.parametrize("session", [date(2026, 3, 6), date(2026, 3, 9), date(2026, 10, 30), date(2026, 11, 2)])
def test_a_session_lasts_780_buckets_on_both_sides_of_a_clock_change(session: date) -> None:
    found = calendar.day(session)
    assert found is not None
    assert found.buckets == 780
    assert found.open_utc % (30 * SECOND) == 0


def test_the_open_moves_by_an_hour_of_utc_over_a_clock_change() -> None:
    before, after = calendar.day(date(2026, 3, 6)), calendar.day(date(2026, 3, 9))
    assert before is not None
    assert after is not None
    assert after.open_utc - before.open_utc == (3 * 24 - 1) * 60 * MINUTE


@pytest.mark.parametrize(
    ("session", "clock", "phase"),
    [
        (date(2026, 11, 20), time(0, 0), Phase.PRE),
        (date(2026, 11, 20), time(9, 29, 59), Phase.PRE),
        (date(2026, 11, 20), time(9, 30), Phase.OPEN),
        (date(2026, 11, 20), time(9, 35), Phase.ENTRY),
        (date(2026, 11, 20), time(15, 14, 59), Phase.ENTRY),
        (date(2026, 11, 20), time(15, 15), Phase.LATE),
        (date(2026, 11, 20), time(15, 35), Phase.PANIC),
        (date(2026, 11, 20), time(15, 45), Phase.FLATTEN),
        (date(2026, 11, 20), time(16, 0), Phase.CLOSED),
        (date(2026, 11, 27), time(12, 14, 59), Phase.ENTRY),
        (date(2026, 11, 27), time(12, 15), Phase.LATE),
        (date(2026, 11, 27), time(12, 35), Phase.PANIC),
        (date(2026, 11, 27), time(12, 45), Phase.FLATTEN),
        (date(2026, 11, 27), time(13, 0), Phase.CLOSED),
        (date(2026, 11, 26), time(11, 0), Phase.CLOSED_DAY),
    ],
)
def test_phases_are_counted_back_from_the_days_own_close(session: date, clock: time, phase: Phase) -> None:
    assert calendar.phase_at(calendar.day(session), at_exchange(session, clock), RULES) is phase


def test_the_closures_of_a_year_fall_into_it() -> None:
    for year in range(FIRST, LAST + 1):
        assert {d.year for d in calendar.closures(year)} == {year}
        assert {d.year for d in calendar.half_days(year)} == {year}


@pytest.mark.parametrize(
    ("session", "why"),
    [
        (date(2026, 11, 21), "weekend"),
        (date(2026, 11, 26), "Thanksgiving Day"),
        (date(2026, 11, 20), "closed by the settings"),
        (date(2026, 11, 19), ""),
    ],
)
def test_a_date_without_trading_says_why(session: date, why: str) -> None:
    assert calendar.closure_of(session, (date(2026, 11, 20),)) == why
