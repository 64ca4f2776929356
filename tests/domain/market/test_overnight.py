"""The night of a future: which bars are of it, what it is measured against, and what its series say."""

from __future__ import annotations

from datetime import date, time, timedelta

import numpy as np
import pytest

from domain.instants import MINUTE, at_exchange
from domain.market.bars import Bars
from domain.market.derived import all_values
from domain.market.overnight import night
from domain.units import Utc
from tests.domain.market.test_bars import bars

FRIDAY, SUNDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 22), date(2026, 11, 23)


def joined(*pieces: Bars) -> Bars:
    names = ("begin_utc", "open", "high", "low", "close")
    return Bars(pieces[0].ticker, 1, *(np.concatenate([getattr(one, name) for one in pieces]) for name in names))


def at(ticker: str, on: date, clock: time, *closes: int) -> Bars:
    return bars(ticker, list(closes), begin_utc=at_exchange(on, clock))


def weekend(*more: Bars) -> Bars:
    return joined(
        at("ES", FRIDAY, time(15, 58), 600_000, 601_000, 590_000),  # the third begins at the close
        at("ES", FRIDAY, time(16, 50), 580_000),
        at("ES", SUNDAY, time(18, 0), 603_000, 609_000),
        at("ES", MONDAY, time(9, 28), 600_000, 604_005),
        *more,
    )


def test_a_night_lasts_from_sundays_evening_to_mondays_open_against_fridays_close() -> None:
    found = night(weekend(at("ES", MONDAY, time(9, 30), 700_000)))
    assert found is not None
    assert (found.session, found.open, found.high, found.low, found.last, found.before) == (
        MONDAY, 603_000, 609_000, 600_000, 604_005, 601_000,
    )  # fmt: skip
    assert found.move == pytest.approx(604_005 / 601_000 - 1)
    assert found.span == pytest.approx(9_000 / 603_000)
    assert found.position == pytest.approx(4_005 / 9_000)


def test_in_the_evening_the_night_that_runs_is_that_of_the_next_session() -> None:
    found = night(weekend(at("ES", MONDAY, time(15, 59), 610_000), at("ES", MONDAY, time(18, 0), 611_000)))
    assert found is not None
    assert (found.session, found.last, found.before) == (MONDAY + timedelta(days=1), 611_000, 610_000)


def test_without_bars_of_the_night_or_of_the_close_before_nothing_is_made_up() -> None:
    assert night(at("ES", MONDAY, time(9, 30), 600_000)) is None
    assert night(bars("ES", [])) is None
    alone = night(at("ES", MONDAY, time(3, 0), 600_000))
    assert alone is not None
    assert (alone.before, alone.move, alone.position, alone.span) == (None, None, None, 0.0)


def test_a_half_days_close_is_at_one_oclock() -> None:
    before, after = date(2026, 11, 27), date(2026, 11, 30)
    found = night(
        joined(
            at("ES", before, time(12, 59), 600_000),
            at("ES", before, time(14, 0), 650_000),
            at("ES", after, time(4, 0), 606_000),
        )
    )
    assert found is not None
    assert found.before == 600_000


def test_the_series_of_nights_and_of_the_volatility_terms_are_in_the_table() -> None:
    values = all_values({
        "ES": weekend(), "VIX": at("VIX", MONDAY, time(9, 30), 2_000, 2_100),
        "VIX9D": at("VIX9D", MONDAY, time(9, 30), 2_200, 2_400),
        "VIX3M": at("VIX3M", MONDAY, time(9, 30), 1_900, 2_310),
    })  # fmt: skip
    assert values["ES", "overnight_move"] == pytest.approx(604_005 / 601_000 - 1)
    assert values["ES", "overnight_range"] == pytest.approx(9_000 / 603_000)
    assert values["ES", "overnight_position"] == pytest.approx(4_005 / 9_000)
    assert values["VIX", "term_9d_30d"] == pytest.approx(-0.125)
    assert values["VIX", "term_30d_3m"] == pytest.approx(0.1)
    assert values["NQ", "overnight_move"] is None


def test_prices_before_the_open_are_no_part_of_a_sessions_gap_or_range() -> None:
    usual = [
        bars("SPY", [60_000] * 390, begin_utc=at_exchange(FRIDAY - timedelta(days=n), time(9, 30))) for n in (1, 0)
    ]
    early = at("SPY", MONDAY, time(8, 0), 70_000)
    today = at("SPY", MONDAY, time(9, 30), 60_600)
    values = all_values({"SPY": joined(*usual, early, today)})
    assert values["SPY", "gap"] == pytest.approx(0.01)


def test_a_bar_of_the_last_minute_before_the_open_is_the_nights() -> None:
    opens = at_exchange(MONDAY, time(9, 30))
    found = night(bars("ES", [1_000, 1_001, 1_002], begin_utc=Utc(opens - MINUTE)))
    assert found is not None
    assert (found.last, found.high) == (1_000, 1_000)
