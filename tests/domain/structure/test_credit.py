"""What a credit spread brings in and may lose, when it may be opened and when it is closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import load_settings
from domain.instants import MINUTE
from domain.instruments import DataType, Quote, Spot
from domain.options.fees import round_trip_cents
from domain.position.cycle import ExitReason
from domain.structure.credit import (
    Condition,
    Terms,
    Unmet,
    is_ex_dividend,
    ratio_of,
    strikes_at,
    terms_of,
    unmet_before_quotes,
    unmet_of,
    unmet_on_quotes,
)
from domain.structure.exits import Marked, exit_of, is_assignment_near
from domain.structure.rules import COVER_RATIO, SpreadRules
from domain.structure.settlement import LegResult, result_of
from domain.units import Cents, Qty, Ticks, Utc
from tests.testkit.narrow import known

DAY = date(2026, 11, 20)
RULES: SpreadRules = load_settings(profile="demo").spread
OPEN = Utc(0)
FEES = round_trip_cents(DAY, "SPXW", Qty(1), 2_000) + round_trip_cents(DAY, "SPY", Qty(10), 250)
IN_WINDOW = Utc(10 * MINUTE)


def quote(bid: int | None, ask: int | None) -> Quote:
    """Return a live quote."""
    return Quote(1, None if bid is None else Ticks(bid), None if ask is None else Ticks(ask), Qty(50), Qty(50), Utc(0))


def terms(
    ratio: float = 10.0, bought: Quote | None = None, sold: Quote | None = None, cover: int = 600_000,
    short: int = 60_000,
) -> Terms | None:  # fmt: skip
    """Return the terms of a spread: bought at 20.00, ten sold at 2.50."""
    return terms_of(
        DAY, ratio, (Ticks(cover), bought or quote(1_970, 2_000)), (Ticks(short), sold or quote(250, 251)), RULES
    )


# Three pairs, each bought strike before its sold one, with the bid.
LADDER = ((600_500, 2_000), (60_000, 250), (598_800, 1_900), (60_000, 240), (599_100, 1_800), (60_000, 230))


# -- arithmetic -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spx", "spy", "wanted"),
    [
        (600_000, 60_000, (600_000, 60_000)),
        (600_249, 60_049, (600_000, 60_000)),
        (600_250, 60_050, (600_500, 60_100)),  # half up
        (600_499, 60_099, (600_500, 60_100)),
    ],
)
def test_strikes_are_the_nearest_at_the_money_half_up(spx: int, spy: int, wanted: tuple[int, int]) -> None:
    assert strikes_at(Ticks(spx), Ticks(spy)) == wanted


def test_the_credit_is_ten_sold_at_the_bid_less_one_bought_at_the_ask_less_the_fees_of_both_round_trips() -> None:
    found = known(terms())
    fees = round_trip_cents(DAY, "SPXW", Qty(1), 2_000) + round_trip_cents(DAY, "SPY", Qty(10), 250)
    assert found.fees_cents == fees
    assert found.credit_cents == 10 * 250 * 100 - 2_000 * 100 - fees
    assert found.gap_cents == 0
    assert found.worst_cents == -found.credit_cents


def test_a_gap_of_the_strikes_is_taken_off_the_credit() -> None:
    found = known(terms(ratio=10.0, cover=600_500))
    assert found.gap_cents == 500 * 100
    assert found.edge_cents == found.credit_cents - 50_000
    assert known(terms(ratio=10.0, cover=599_500)).gap_cents == 0  # a cover below the shorts costs nothing


def test_the_gap_is_that_of_the_dearest_pair_at_a_ratio_that_is_no_whole_number() -> None:
    ratio, legs = 10.0037125, [(Ticks(strike), quote(bid, bid + 1)) for strike, bid in LADDER]
    found = known(terms_of(DAY, ratio, legs[0], legs[1], RULES, *legs[2:]))
    assert [(pair.cover_strike_ticks, pair.short_strike_ticks) for pair in found.pairs] == [
        (600_500, 60_000), (598_800, 60_000), (599_100, 60_000),
    ]  # fmt: skip
    assert found.gap_cents == round((ratio * 60_000 - 598_800) * 100)
    calls = known(terms_of(DAY, ratio, legs[0], legs[1], RULES))
    assert calls.gap_cents == round((600_500 - ratio * 60_000) * 100)
    fees = [round_trip_cents(DAY, "SPXW", Qty(1), bid + 1) for _, bid in LADDER[::2]]
    fees += [round_trip_cents(DAY, "SPY", Qty(10), bid) for _, bid in LADDER[1::2]]
    assert found.fees_cents == sum(fees)
    assert found.credit_cents == (10 * (250 + 240 + 230) - (2_001 + 1_901 + 1_801)) * 100 - sum(fees)


@pytest.mark.parametrize(
    ("bought", "sold"),
    [(quote(None, 2_000), None), (quote(0, 2_000), None), (None, quote(0, 251)), (None, quote(250, None))],
)
def test_a_missing_side_has_no_terms(bought: Quote | None, sold: Quote | None) -> None:
    assert terms(bought=bought, sold=sold) is None


@given(
    spx=st.integers(550_000, 650_000), spy=st.integers(55_000, 65_000), end=st.integers(30_000, 120_000),
    bid=st.integers(1, 900), ask=st.integers(50, 9_000),
)  # fmt: skip
def test_no_expiry_at_the_ratio_loses_more_than_the_worst_case(
    spx: int, spy: int, end: int, bid: int, ask: int
) -> None:
    cover, short = strikes_at(Ticks(spx), Ticks(spy))
    found = known(terms(10.0, quote(max(ask - 50, 1), ask), quote(bid, bid + 1), cover, short))
    worth = max(0, 10 * end - cover) - 10 * max(0, end - short)
    assert worth * 100 + found.credit_cents >= -found.worst_cents


def test_without_a_price_of_the_fund_there_is_no_ratio() -> None:
    assert ratio_of(Ticks(600_000), Ticks(0)) is None
    assert ratio_of(Ticks(600_000), Ticks(60_000)) == 10.0
    assert ratio_of(Ticks(10), Ticks(1)) == 10.0


# -- conditions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "ratio", "day", "wanted"),
    [
        (5, 10.0, DAY, None),
        (29.99, 9.95, DAY, None),
        (29.99, 10.05, DAY, None),
        (4.99, 10.0, DAY, Condition.WINDOW),
        (30, 10.0, DAY, Condition.WINDOW),
        (10, 9.949, DAY, Condition.RATIO),
        (10, 10.051, DAY, Condition.RATIO),
        (10, None, DAY, Condition.RATIO),
        (10, 10.0, date(2026, 12, 18), Condition.EX_DIVIDEND),
    ],
)
def test_window_dividend_and_ratio_come_before_any_quote(
    minutes: float, ratio: float | None, day: date, wanted: Condition | None
) -> None:
    unmet = unmet_before_quotes(day, OPEN, Utc(round(minutes * MINUTE)), ratio, RULES)
    assert (None if unmet is None else unmet.condition) == wanted


@pytest.mark.parametrize("day", [date(2026, 3, 20), date(2026, 6, 19), date(2026, 9, 18), date(2026, 12, 18)])
def test_the_fund_is_ex_dividend_on_the_third_friday_of_a_quarter(day: date) -> None:
    assert is_ex_dividend(day, RULES)
    assert not is_ex_dividend(date(2026, 11, 20), RULES)  # a third Friday of another month


def test_around_a_third_friday_without_a_session_both_neighbours_count() -> None:
    found = [date(2026, 6, day) for day in range(8, 31) if is_ex_dividend(date(2026, 6, day), RULES)]
    assert found == [date(2026, 6, 18), date(2026, 6, 19), *(date(2026, 6, day) for day in (20, 21, 22))]
    assert [day for day in range(8, 31) if is_ex_dividend(date(2026, 9, day), RULES)] == [18], "a session: it alone"


def test_the_third_friday_of_a_quarter_that_begins_on_one_is_the_15th() -> None:
    assert [day for day in range(1, 32) if is_ex_dividend(date(2024, 3, day), RULES)] == [15]


@pytest.mark.parametrize(("year", "friday"), [(2025, 21), (2026, 20)], ids=["Saturday", "Sunday"])
def test_the_third_friday_of_a_month_that_begins_on_a_weekend_is_it_alone(year: int, friday: int) -> None:
    assert [day for day in range(1, 32) if is_ex_dividend(date(year, 3, day), RULES)] == [friday]


@pytest.mark.parametrize(
    ("minutes", "ratio", "wanted", "text"),
    [
        (
            4.5, 10.0, Unmet(Condition.WINDOW, 270, 300, "s after the open", "the spread's window"),
            "window: 270 against 300 s after the open (the spread's window)",
        ),
        (
            31, 10.0, Unmet(Condition.WINDOW, 1_860, 1_800, "s after the open", "the spread's window"),
            "window: 1860 against 1800 s after the open (the spread's window)",
        ),
        (
            10, 9.9000016, Unmet(Condition.RATIO, 9.900002, 9.95, "SPX over SPY", "ratio"),
            "ratio: 9.9 against 9.95 SPX over SPY (ratio)",
        ),
        (
            10, 10.1000016, Unmet(Condition.RATIO, 10.100002, 10.05, "SPX over SPY", "ratio"),
            "ratio: 10.1 against 10.05 SPX over SPY (ratio)",
        ),
        (10, None, Unmet(Condition.RATIO, None, None, "", "no price of SPX or of SPY"), None),
    ],
)  # fmt: skip
def test_what_is_unmet_before_any_quote_names_what_was_measured_and_the_nearer_limit(
    minutes: float, ratio: float | None, wanted: Unmet, text: str | None
) -> None:
    opens = Utc(570 * MINUTE)
    unmet = unmet_before_quotes(DAY, opens, Utc(opens + round(minutes * MINUTE)), ratio, RULES)
    assert unmet == wanted
    assert known(unmet).text == text or text is None
    assert known(unmet_of(text)).text == text if text else unmet_of(known(unmet).text) is None


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, None),
        ({"bought": quote(2_001, 2_000)}, Condition.QUOTES),
        ({"sold": quote(252, 251)}, Condition.QUOTES),
        ({"bought": quote(1_949, 2_000)}, Condition.SPX_SPREAD),
        ({"bought": quote(1_950, 2_000)}, None),
        ({"sold": quote(206, 207)}, Condition.CREDIT),
        ({"cover": 601_500}, Condition.WORST_CASE),
        ({"bought": quote(None, 2_000)}, Condition.QUOTES),
    ],
)
def test_the_first_condition_that_fails_on_the_quotes_is_named(change: Any, wanted: Condition | None) -> None:
    unmet = unmet_on_quotes(terms(**change), RULES)
    assert (None if unmet is None else unmet.condition) == wanted
    if unmet is not None:
        assert unmet.condition.value in unmet.text
        told = unmet_of(unmet.text)
        assert told == (None if unmet.measured is None else unmet)


@pytest.mark.parametrize(
    "text", ["credit", "margin: 1 against 2 cents (x)", "credit: much against 2 cents (x)", "spread-1 is under way", ""]
)
def test_a_clause_that_tells_no_measured_condition_is_none(text: str) -> None:
    assert unmet_of(text) is None


def test_the_credit_just_at_the_least_is_enough() -> None:
    at = next(bid for bid in range(200, 300) if known(terms(sold=quote(bid, 300))).credit_cents >= 40_000)
    assert unmet_on_quotes(terms(sold=quote(at, at + 1)), RULES) is None
    assert known(unmet_on_quotes(terms(sold=quote(at - 1, at)), RULES)).condition is Condition.CREDIT


def test_a_market_that_is_locked_is_not_crossed() -> None:
    assert unmet_on_quotes(terms(bought=quote(2_000, 2_000), sold=quote(250, 250)), RULES) is None


def test_the_least_credit_and_the_worst_case_themselves_are_met_and_a_cent_beyond_is_told_with_both() -> None:
    found = known(terms(cover=600_500))
    credit, worst = found.credit_cents, found.worst_cents
    assert (found.fees_cents, found.gap_cents) == (FEES, 50_000)
    rules = replace(RULES, min_entry_credit=credit / 100, max_position_loss=worst / 100)
    assert unmet_on_quotes(found, rules) is None
    looked_at = f"net credit after fees of {FEES // 100}.{FEES % 100:02} USD"
    more = replace(rules, min_entry_credit=(credit + 1) / 100)
    assert unmet_on_quotes(found, more) == Unmet(Condition.CREDIT, credit, credit + 1, "cents", looked_at)
    less = replace(rules, max_position_loss=(worst - 1) / 100)
    assert unmet_on_quotes(found, less) == Unmet(
        Condition.WORST_CASE, worst, worst - 1, "cents", "gap of the strikes 500.00 USD less the credit"
    )


def test_a_quote_of_the_bought_call_that_is_too_wide_is_told_as_such() -> None:
    unmet = unmet_on_quotes(terms(bought=quote(1_949, 2_000)), RULES)
    assert unmet == Unmet(Condition.SPX_SPREAD, 51, 50, "ticks", "ask less bid of the SPX call")


def test_the_sold_contracts_of_the_settings_are_covered() -> None:
    assert RULES.spy_contracts_per_spread <= COVER_RATIO * RULES.spx_contracts_per_spread


# -- exits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "kind", "is_near"),
    [(61_000, DataType.LIVE, False), (61_001, DataType.LIVE, True), (61_001, DataType.DELAYED, False)],
)
def test_assignment_is_near_where_the_fund_stands_far_above_the_sold_strike(
    price: int, kind: DataType, is_near: bool
) -> None:
    assert is_assignment_near(Spot("SPY", Ticks(price), Utc(0), kind), Ticks(60_000), RULES) is is_near
    assert not is_assignment_near(None, Ticks(60_000), RULES)


@pytest.mark.parametrize(("pnl", "wanted"), [(-50_000, None), (-50_001, ExitReason.POSITION_LOSS), (None, None)])
def test_a_held_spread_is_closed_for_its_loss(pnl: int | None, wanted: ExitReason | None) -> None:
    short = Marked(None if pnl is None else Cents(pnl), None)
    assert exit_of([Marked(Cents(0), Cents(-9_999_999)), short], RULES) is wanted


@pytest.mark.parametrize(
    ("cover", "short", "wanted"),
    [
        (Marked(Cents(0), Cents(-50_000), is_blind=True), Marked(Cents(0), None), None),
        (Marked(Cents(0), Cents(-50_001), is_blind=True), Marked(Cents(0), None), ExitReason.BLIND),
        (Marked(None, Cents(-60_000), is_blind=True), Marked(Cents(20_000), None), None),
        (Marked(None, Cents(-60_000), is_blind=True), Marked(None, None), None),  # known soon, or blind as well
        (Marked(Cents(0), Cents(0)), Marked(Cents(0), None, is_blind=True), ExitReason.BLIND),
        (Marked(None, None, is_blind=True), Marked(Cents(0), None), ExitReason.BLIND),
    ],
)
def test_a_leg_without_a_mark_for_too_long_counts_at_its_worst(
    cover: Marked, short: Marked, wanted: ExitReason | None
) -> None:
    assert exit_of([cover, short], RULES) is wanted


# -- settlement ---------------------------------------------------------------------------------------


def test_the_result_of_a_spread_is_that_of_both_legs() -> None:
    legs = (LegResult(Cents(-150_000), Cents(350)), LegResult(Cents(210_000), Cents(1_600)))
    found = result_of("s", legs, ExitReason.EOD, Utc(7))
    assert (found.realised_cents, found.fees_cents, found.reason) == (60_000, 1_950, ExitReason.EOD)
