"""The exchange calendar against an independent oracle, and the phases of full, half and daylight-saving days."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest
from holidays import financial_holidays
from holidays.constants import HALF_DAY

from config.settings import load_settings
from domain.instants import MINUTE, SECOND, at_exchange
from domain.session import calendar
from domain.session.phases import Phase

FIRST, LAST = 2015, 2035
RULES = load_settings(profile="real").day


def every_weekday() -> list[date]:
    start, end = date(FIRST, 1, 1), date(LAST, 12, 31)
    days = (start + timedelta(days=n) for n in range((end - start).days + 1))
    return [d for d in days if d.weekday() < 5]


def test_closed_days_agree_with_the_oracle_from_2015_to_2035() -> None:
    closed = set(financial_holidays("XNYS", years=range(FIRST, LAST + 1)))
    ours = {d for d in every_weekday() if calendar.day(d) is None}
    assert ours == {d for d in closed if d.weekday() < 5}


def test_half_days_agree_with_the_oracle_from_2015_to_2035() -> None:
    half = set(financial_holidays("XNYS", years=range(FIRST, LAST + 1), categories=(HALF_DAY,)))
    ours = {d for d in every_weekday() if (found := calendar.day(d)) is not None and found.is_half}
    assert ours == half


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
    assert calendar.day(date(2026, 11, 20), ("2026-11-20",)) is None
    assert calendar.day(date(2026, 11, 19), ("2026-11-20",)) is not None


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


def test_the_holidays_of_a_year_fall_into_it() -> None:
    for year in range(2013, LAST + 1):
        assert {d.year for d in calendar.holidays(year)} == {year}


def test_easter_falls_on_the_sundays_of_the_church() -> None:
    known = {2015: (4, 5), 2019: (4, 21), 2024: (3, 31), 2025: (4, 20), 2026: (4, 5), 2035: (3, 25)}
    assert {y: (d.month, d.day) for y in known for d in [calendar.easter(y)]} == known
