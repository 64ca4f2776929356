"""The spread with both legs of the index: strikes, terms, and which conditions it has and has not."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from config.settings import SettingsError, load_settings
from domain.instants import MINUTE
from domain.instruments import Quote, Side
from domain.options.fees import round_trip_cents
from domain.position.cycle import ExitReason
from domain.signals import spread
from domain.structure.credit import (
    Condition,
    Terms,
    Unmet,
    strikes_of,
    terms_of,
    unmet_before_quotes,
    unmet_on_quotes,
)
from domain.structure.exits import Marked, exit_of
from domain.structure.rules import SpreadRules
from domain.units import Cents, Qty, Ticks, Utc
from tests.testkit.narrow import known

PLAIN: SpreadRules = load_settings(profile="demo").spread
RULES = replace(PLAIN, vertical_width=10.0, spx_contracts_per_spread=Qty(2), min_entry_credit=0.0)
DAY, THIRD_FRIDAY = date(2026, 11, 20), date(2026, 12, 18)


def quote(bid: int, ask: int) -> Quote:
    return Quote(1, Ticks(bid), Ticks(ask), Qty(50), Qty(50), Utc(0))


def terms(bought: tuple[int, int] = (1_500, 1_520), sold: tuple[int, int] = (2_000, 2_030)) -> Terms:
    """Return the terms of two verticals: 6010 bought, 6000 sold."""
    found = terms_of(DAY, 1.0, (Ticks(601_000), quote(*bought)), (Ticks(600_000), quote(*sold)), RULES)
    return known(found)


def test_the_sold_strike_is_at_the_money_and_the_bought_one_its_width_above() -> None:
    assert strikes_of(Ticks(600_240), Ticks(600_240), RULES) == (601_000, 600_000)
    assert strikes_of(Ticks(600_240), Ticks(60_024), PLAIN) == (600_000, 60_000)


def test_a_credit_is_what_both_touches_leave_and_the_worst_is_the_width_less_it() -> None:
    fees = round_trip_cents(DAY, "SPXW", Qty(2), Ticks(1_520)) + round_trip_cents(DAY, "SPXW", Qty(2), Ticks(2_000))
    assert terms().fees_cents == fees
    assert terms().credit_cents == 2 * 480 * 100 - fees
    assert terms().gap_cents == 2 * 1_000 * 100
    assert terms().worst_cents == 2 * 520 * 100 + fees
    assert (terms().net_width_ticks, terms().net_mid_ticks) == (50, -505)


def test_a_net_market_that_is_too_wide_is_refused_where_each_leg_is_not() -> None:
    rules = replace(RULES, max_position_loss=5_000.0)
    assert unmet_on_quotes(terms(), rules) is None
    wide = terms(bought=(1_500, 1_550), sold=(1_520, 1_600))
    unmet = known(unmet_on_quotes(wide, replace(rules, min_entry_credit=0.0)))
    assert unmet == Unmet(Condition.NET_SPREAD, 130, 15, "ticks", "ask less bid of both legs")
    just = terms(bought=(1_512, 1_520), sold=(1_520, 1_527))
    assert (just.net_width_ticks, unmet_on_quotes(just, replace(rules, min_entry_credit=-100.0))) == (15, None)
    assert known(unmet_on_quotes(wide, replace(rules, vertical_width=0.0))).condition is not Condition.NET_SPREAD


def test_the_worst_case_bounds_it_like_any_spread() -> None:
    assert known(unmet_on_quotes(terms(), RULES)).condition is Condition.WORST_CASE


def test_it_is_left_at_a_loss_of_its_own_below_the_worst_that_it_was_opened_on() -> None:
    rules = replace(RULES, vertical_loss=250.0, max_position_loss=1_200.0)
    for loss, reason in ((-25_000, None), (-25_100, ExitReason.POSITION_LOSS)):
        cover, short = Marked(Cents(10_000), Cents(0)), Marked(Cents(loss - 10_000), None)
        assert exit_of([cover, short], rules) is reason
        assert exit_of([cover, short], replace(rules, vertical_width=0.0)) is None


def test_neither_a_ratio_nor_the_funds_dividend_matters_but_a_price_of_the_index_does() -> None:
    now = Utc(10 * MINUTE)
    assert unmet_before_quotes(THIRD_FRIDAY, Utc(0), now, 1.0, RULES) is None
    assert known(unmet_before_quotes(THIRD_FRIDAY, Utc(0), now, 10.0, PLAIN)).condition is Condition.EX_DIVIDEND
    assert known(unmet_before_quotes(DAY, Utc(0), now, None, RULES)).condition is Condition.RATIO
    assert known(unmet_before_quotes(DAY, Utc(0), Utc(0), 1.0, RULES)).condition is Condition.WINDOW


def test_its_plan_covers_one_for_one_and_its_kind_is_its_own() -> None:
    plan = spread.plan_of((Ticks(601_000), Ticks(600_000)), RULES)
    assert [(leg.ticker, leg.side, leg.ratio) for leg in plan.legs] == [("SPX", Side.BUY, 2), ("SPX", Side.SELL, 2)]
    assert (plan.cover_ratio, plan.is_covered, plan.is_long_only) == (1, True, False)
    assert (spread.kind_of(RULES), spread.kind_of(PLAIN)) == ("CREDIT_VERTICAL", "CREDIT_SPREAD")


def test_it_is_off_by_default_and_a_width_that_no_strikes_have_is_refused_in_a_sentence() -> None:
    assert not PLAIN.is_vertical
    assert replace(PLAIN, vertical_width=0.5).is_vertical
    assert (RULES.distance_ticks, RULES.early_ms, PLAIN.early_ms) == (0, 0, 0)
    with pytest.raises(SettingsError, match=r"vertical_width.*must be 0, or a multiple of 5 as the strikes are"):
        load_settings(profile="demo", overrides={"spread": {"vertical_width": 7}})
