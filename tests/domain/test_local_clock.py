"""New York's date and wall clock at an instant, against the zone's own arithmetic, clock changes included."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import NEW_YORK, SECOND, exchange_clock, from_datetime, session_of, to_datetime

# 1990 to 2050, and seconds around both changes of 2026.
CHANGES = [from_datetime(datetime(2026, month, day, hour, tzinfo=UTC)) for month, day, hour in ((3, 8, 7), (11, 1, 6))]
ANY = st.integers(631_152_000 * SECOND, 2_524_608_000 * SECOND)
NEAR = st.sampled_from(CHANGES).flatmap(lambda at: st.integers(at - 3 * SECOND, at + 3 * SECOND))


@given(st.one_of(ANY, NEAR))
def test_date_and_clock_are_those_of_the_zone(at_utc: int) -> None:
    local = to_datetime(at_utc).astimezone(NEW_YORK)
    assert (session_of(at_utc), exchange_clock(at_utc)) == (local.date(), local.strftime("%H:%M:%S"))


@pytest.mark.parametrize(
    ("moment", "day", "clock"),
    [
        (datetime(2026, 3, 8, 6, 59, 59, tzinfo=UTC), date(2026, 3, 8), "01:59:59"),
        (datetime(2026, 3, 8, 7, tzinfo=UTC), date(2026, 3, 8), "03:00:00"),
        (datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC), date(2026, 11, 1), "01:59:59"),
        (datetime(2026, 11, 1, 6, tzinfo=UTC), date(2026, 11, 1), "01:00:00"),
        (datetime(2026, 11, 20, 4, 59, 59, tzinfo=UTC), date(2026, 11, 19), "23:59:59"),
    ],
)
def test_the_clock_springs_and_falls_back(moment: datetime, day: date, clock: str) -> None:
    assert (session_of(from_datetime(moment)), exchange_clock(from_datetime(moment))) == (day, clock)
