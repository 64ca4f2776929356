"""Measures in a trader's units."""

from __future__ import annotations

import math

import pytest

from domain.position.cycle import EndReason, ExitReason
from domain.wording import (
    csv_text,
    duration_text,
    measure_text,
    number_text,
    printable,
    reason_text,
    reasons_text,
    usd_text,
)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"), (850, "850 ms"), (999.4, "999 ms"), (4_200, "4.2 s"), (45_000, "45 s"), (119_000, "119 s"),
        (120_000, "2 min"), (500_000, "8 min 20 s"), (2_700_000, "45 min"), (7_500_000, "2 h 05 min"),
        (10_800_000, "3 h"), (-300_000, "-5 min"),
    ],
)  # fmt: skip
def test_a_duration_is_written_in_the_unit_that_fits_it(ms: float, text: str) -> None:
    assert duration_text(ms) == text


def test_money_keeps_its_cents_until_they_say_nothing() -> None:
    assert [usd_text(value) for value in (185, -24_290, 99_900, 196_000, 196_050)] == [
        "1.85 USD", "-242.90 USD", "999.00 USD", "1,960 USD", "1,960.50 USD",
    ]  # fmt: skip


def test_a_number_carries_no_places_that_are_nought() -> None:
    assert [number_text(value) for value in (3, 0.5, 0.12345, 1_234.5, 100, 0)] == [
        "3", "0.5", "0.1235", "1,234.5", "100", "0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "limit", "unit", "text"),
    [
        (45_000, 60_000, "ms", "45 s against 60 s"),
        (4_000, 3_000, "ms", "4 s against 3 s"),
        (-300, 0, "s", "-5 min against 0 ms"),
        (350, 0, "ms before the wait", "350 ms against 0 ms before the wait"),
        (185, 120, "ticks", "1.85 USD against 1.20 USD"),
        (-195_000, -200_000, "cents", "-1,950 USD against -2,000 USD"),
        (2_600_000, 2_500_000, "cents of NAV", "26,000 USD against 25,000 USD of NAV"),
        (0.125, 0.08, "of mid", "12.5 % against 8 % of mid"),
        (1, 0, "level", "level 1 against level 0"),
        (7_496, 4_002, "port", "port 7496 against port 4002"),
        (3, 1, "market data type", "delayed against live data"),
        (9, 1, "market data type", "9 against live data"),
        (3, 2, "positions", "3 positions, at most 2"),
        (1, 0, "positions", "1 position, none allowed"),
        (3, None, "positions", "3 positions"),
        (2, 1, "contracts tried", "2 contracts tried, none passed"),
        (1, 1, "contracts tried", "1 contract tried, it did not pass"),
        (0, 1, "contracts tried", "no contract to try"),
        (0, 1, "contracts", "0 contracts, at least 1"),
        (12, 10, "contracts", "12 contracts, at most 10"),
        (1, 0.5, "contracts", "1 contract, at most 0.5"),
        (40, 100, "contracts today", "40 contracts traded today, at least 100"),
        (5, 5, "trades", "5 trades today, at most 5"),
        (0, 1, "day trades", "0 day trades left, at least 1"),
        (-1, 1, "day trades", "day trades not limited"),
        (3, 3, "structures", "3 losses in a row, entries end at 3"),
        (2, 1, "legs", "2 legs, at most 1"),
        (math.nan, 3, "trades", "no number of trades today, at most 3"),
        (None, 3, "ms", ""),
        (math.nan, 3_000, "ms", "no number against 3 s"),
        (math.inf, 3, "", "no number against 3"),
    ],
)
def test_a_measure_stands_beside_its_limit_in_a_traders_unit(
    measured: float | None, limit: float | None, unit: str, text: str
) -> None:
    assert measure_text(measured, limit, unit) == text


def test_where_no_contract_passed_the_gates_words_say_why() -> None:
    assert measure_text(0, 1, "contracts tried", "no IWM C quoted") == "no IWM C quoted"
    assert measure_text(2, 1, "contracts tried", "last: illiquid") == "illiquid; 2 contracts tried, none passed"


def test_every_reason_and_end_is_said_in_words() -> None:
    for reason in (*ExitReason, *EndReason):
        assert "_" not in reason_text(reason)
    assert reason_text("eod") == "end of day"


def test_reasons_of_the_parts_are_said_once_each_in_their_order() -> None:
    assert reasons_text(["take_profit", "take_profit", "no_progress"]) == "take profit, then no progress"


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("@sum", "'@sum"), ("+a", "'+a"), ("-12.50", "-12.50"), ("+1e3", "+1e3"),
     ("news", "news"), ("", "")],
)  # fmt: skip
def test_a_cell_of_a_csv_file_is_no_formula(text: str, cell: str) -> None:
    assert csv_text(text) == cell


def test_nothing_that_a_terminal_acts_on_is_printed() -> None:
    assert printable("news\x1b[2J\x07\n at\u202e 10:00 in Z\u00fcrich") == "news [2J at 10:00 in Z\u00fcrich"
