"""Iron condors and butterflies of the index: strikes, terms, what they lose at most, when they are left."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import SettingsError, load_settings
from domain.instants import MINUTE, MS
from domain.instruments import Contract, DataType, Quote, Right, Side, Spot
from domain.options.fees import round_trip_cents
from domain.orders.combo import ComboKind, ComboLeg, kind_of, worst_loss_cents
from domain.orders.intent import leg_direction
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
from domain.structure.exits import Marked, early_exit_of, exit_of
from domain.structure.rules import Combination, SpreadRules
from domain.units import Cents, Qty, Ticks, Utc
from tests.testkit.narrow import known

PLAIN: SpreadRules = load_settings(profile="demo").spread
CONDOR = replace(
    PLAIN, combination=Combination.IRON_CONDOR, wing_width=10.0, short_distance=15.0,
    spx_contracts_per_spread=Qty(2), min_entry_credit=0.0, max_position_loss=5_000.0,
)  # fmt: skip
BUTTERFLY = replace(CONDOR, combination=Combination.IRON_BUTTERFLY)
DAY = date(2026, 11, 20)
QUOTES = ((400, 420), (700, 720), (300, 310), (600, 620))  # call wing, sold call, put wing, sold put
FEES = sum(round_trip_cents(DAY, "SPXW", Qty(2), Ticks(price)) for price in (420, 700, 310, 600))


def quote(bid: int, ask: int) -> Quote:
    return Quote(1, Ticks(bid), Ticks(ask), Qty(50), Qty(50), Utc(0))


def terms(rules: SpreadRules = CONDOR, quotes: tuple[tuple[int, int], ...] = QUOTES, spot: int = 600_240) -> Terms:
    legs = zip(strikes_of(Ticks(spot), Ticks(spot), rules), (quote(*one) for one in quotes), strict=True)
    cover, short, *further = legs
    return known(terms_of(DAY, 1.0, cover, short, rules, *further))


def test_a_condor_sells_its_distance_from_the_index_and_buys_its_width_further_out() -> None:
    assert strikes_of(Ticks(600_240), Ticks(600_240), CONDOR) == (602_500, 601_500, 597_500, 598_500)


def test_a_butterfly_sells_both_at_the_money() -> None:
    assert BUTTERFLY.distance_ticks == 0
    assert strikes_of(Ticks(600_240), Ticks(600_240), BUTTERFLY) == (601_000, 600_000, 599_000, 600_000)


@given(
    st.integers(100_000, 900_000), st.sampled_from(list(spread.OF_COMBINATION)), st.integers(1, 10), st.integers(0, 20)
)
def test_its_plan_is_an_iron_condor_whose_every_short_is_covered_one_for_one(
    spot: int, combination: Combination, wings: int, away: int
) -> None:
    rules = replace(CONDOR, combination=combination, wing_width=5.0 * wings, short_distance=5.0 * away)
    plan = spread.plan_of(strikes_of(Ticks(spot), Ticks(spot), rules), rules)
    assert plan.is_covered
    assert [(leg.side, leg.right) for leg in plan.legs] == [
        (Side.BUY, Right.CALL), (Side.SELL, Right.CALL), (Side.BUY, Right.PUT), (Side.SELL, Right.PUT),
    ]  # fmt: skip
    legs = [
        ComboLeg(Contract(n + 1, "SPX", "SPXW", DAY, known(leg.strike_ticks), leg.right), leg.side)
        for n, leg in enumerate(plan.legs)
    ]
    assert kind_of(legs) is ComboKind.IRON_CONDOR
    bought = [(leg.contract, Qty(leg.side.sign * 2)) for leg in legs]
    assert terms(rules, spot=spot).gap_cents == worst_loss_cents(bought) == 2 * 500 * wings * 100


def test_its_credit_is_that_of_all_touches_and_it_loses_on_one_side_only() -> None:
    found = terms()
    assert found.credit_cents == 2 * (700 - 420 + 600 - 310) * 100 - found.fees_cents
    assert found.fees_cents > terms_of_calls().fees_cents > 0
    assert found.gap_cents == 2 * 1_000 * 100
    assert found.worst_cents == found.gap_cents - found.credit_cents
    assert (found.net_width_ticks, found.net_mid_ticks) == (70, -605)
    assert found.covers_ask_ticks == 730


def test_of_two_pairs_the_wider_one_is_what_it_may_lose_whichever_it_is() -> None:
    wide, narrow = (601_500, 603_500), (598_500, 597_500)
    for calls, puts in ((wide, narrow), ((601_500, 602_500), (598_500, 596_500))):
        strikes = (calls[1], calls[0], puts[1], puts[0])
        cover, short, *further = ((Ticks(at), quote(*one)) for at, one in zip(strikes, QUOTES, strict=True))
        assert known(terms_of(DAY, 1.0, cover, short, CONDOR, *further)).gap_cents == 2 * 2_000 * 100


def terms_of_calls() -> Terms:
    calls = replace(CONDOR, combination=None, vertical_width=10.0)
    return known(terms_of(DAY, 1.0, (Ticks(602_500), quote(*QUOTES[0])), (Ticks(601_500), quote(*QUOTES[1])), calls))


@pytest.mark.parametrize(
    ("change", "condition", "looked_at"),
    [
        ({"quotes": (*QUOTES[:3], (620, 600))}, Condition.QUOTES, "a quote is crossed"),
        ({"quotes": (*QUOTES[:2], (320, 310), QUOTES[3])}, Condition.QUOTES, "a quote is crossed"),
        ({"quotes": (*QUOTES[:2], (200, 310), QUOTES[3])}, Condition.SPX_SPREAD, "ask less bid of a bought leg"),
        (
            {"quotes": ((400, 420), (700, 800), (300, 310), (600, 700))}, Condition.NET_SPREAD,
            "ask less bid of all legs",
        ),
        (
            {"rules": replace(CONDOR, min_entry_credit=2_000.0)}, Condition.CREDIT,
            f"net credit after fees of {FEES // 100}.{FEES % 100:02} USD",
        ),
        (
            {"rules": replace(CONDOR, max_position_loss=500.0)}, Condition.WORST_CASE,
            "gap of the strikes 2000.00 USD less the credit",
        ),
    ],
)  # fmt: skip
def test_the_puts_are_judged_as_the_calls_are(change: dict[str, Any], condition: Condition, looked_at: str) -> None:
    rules = change.get("rules", CONDOR)
    assert unmet_on_quotes(terms(), CONDOR) is None
    unmet = known(unmet_on_quotes(terms(rules, change.get("quotes", QUOTES)), rules))
    assert (unmet.condition, unmet.looked_at) == (condition, looked_at)


def test_without_a_side_of_a_put_there_are_no_terms() -> None:
    strikes = strikes_of(Ticks(600_000), Ticks(600_000), CONDOR)
    cover, short, *further = ((strike, quote(*one)) for strike, one in zip(strikes, QUOTES, strict=True))
    blank = (further[1][0], Quote(1, None, Ticks(620), Qty(0), Qty(50), Utc(0)))
    assert terms_of(DAY, 1.0, cover, short, CONDOR, further[0], blank) is None


def test_each_combination_is_a_kind_of_its_own() -> None:
    kinds = [spread.kind_of(rules) for rules in (PLAIN, CONDOR, BUTTERFLY)]
    assert kinds == ["CREDIT_SPREAD", "IRON_CONDOR", "IRON_BUTTERFLY"]
    alert = spread.alert_of(Utc(0), Ticks(600_240), terms(), CONDOR, Utc(0), Utc(MINUTE), is_shadow=True)
    assert (alert.target_ticks, alert.stop_ticks) == (602_500, 597_500)
    said = dict(spread.thresholds_of(terms(), CONDOR))
    assert (said["cover_put_strike"], said["short_put_strike"]) == (5_975, 5_985)


@pytest.mark.parametrize(
    ("side", "right", "wanted"),
    [(Side.BUY, Right.CALL, 1), (Side.SELL, Right.CALL, -1), (Side.BUY, Right.PUT, -1), (Side.SELL, Right.PUT, 1)],
)
def test_a_leg_gains_on_the_side_of_its_right_and_of_what_is_done_with_it(
    side: Side, right: Right, wanted: int
) -> None:
    assert (leg_direction(1, side, right), leg_direction(-1, side, right)) == (wanted, -wanted)


# -- when it is left --------------------------------------------------------------------------------

SOLD = [
    Contract(2, "SPX", "SPXW", DAY, Ticks(601_500), Right.CALL),
    Contract(4, "SPX", "SPXW", DAY, Ticks(598_500), Right.PUT),
]
EARLY = replace(CONDOR, profit_share=0.5, leave_before_close_ms=60_000, in_money_before_close_ms=120_000)


def marks(*cents: int | None, is_blind: bool = False) -> list[Marked]:
    return [Marked(None if one is None else Cents(one), None, is_blind) for one in cents]


def at(price: int, kind: DataType = DataType.LIVE) -> Spot:
    return Spot("SPX", Ticks(price), Utc(0), kind)


def early(
    rules: SpreadRules = EARLY, left_ms: int | None = 999_000, price: int = 600_000, **more: Any
) -> ExitReason | None:
    legs = more.get("legs", marks(0, 0, 0, 0))
    left_ns = None if left_ms is None else left_ms * MS
    return early_exit_of(left_ns, more.get("spot", at(price)), SOLD, legs, more.get("terms", terms()), rules)


def test_profit_is_taken_at_its_share_of_the_credit() -> None:
    enough = -(-terms().credit_cents // 2)
    assert early(legs=marks(enough, 0, -100, 100)) is ExitReason.TAKE_PROFIT
    assert early(legs=marks(enough - 1, 0, 0, 0)) is None
    assert early(replace(EARLY, profit_share=0.0), legs=marks(10 * enough, 0, 0, 0)) is None
    assert early(legs=marks(10 * enough, 0, 0, 0, is_blind=True)) is None
    assert early(legs=marks(10 * enough, 0, 0, None)) is None
    assert early(legs=marks(10 * enough, 0, 0, 0), terms=None) is None
    for credit, gain, wanted in ((5_000, 2_500, ExitReason.TAKE_PROFIT), (1, 1, ExitReason.TAKE_PROFIT), (0, 1, None)):
        found = msgspec.structs.replace(terms(), credit_cents=credit)
        assert early(legs=marks(gain, 0, 0, 0), terms=found) is wanted


def test_it_is_left_some_time_before_the_close() -> None:
    assert (early(left_ms=60_000), early(left_ms=59_999)) == (None, ExitReason.MAX_HOLD)
    assert early(replace(EARLY, leave_before_close_ms=0), left_ms=1) is None
    assert early(left_ms=None) is None


def test_none_is_opened_where_it_would_be_left_at_once() -> None:
    close, rules = Utc(420 * MINUTE), replace(EARLY, entry_after_open_ms=0, entry_until_ms=86_000_000)
    at_last = Utc(close - 120_000 * MS)
    assert unmet_before_quotes(DAY, Utc(0), Utc(at_last - MS), 1.0, rules, close) is None
    assert unmet_before_quotes(DAY, Utc(0), Utc(at_last + 1_000 * MS), 1.0, rules, close) == Unmet(
        Condition.WINDOW, 119, 120, "s before the close", "a new one would be left at once"
    )
    assert known(unmet_before_quotes(DAY, Utc(0), at_last, 1.0, rules, close)).condition is Condition.WINDOW
    off = replace(rules, leave_before_close_ms=0, in_money_before_close_ms=0)
    assert unmet_before_quotes(DAY, Utc(0), at_last, 1.0, off, close) is None
    assert unmet_before_quotes(DAY, Utc(0), at_last, 1.0, rules) is None


@pytest.mark.parametrize(("price", "is_in"), [(601_501, True), (601_500, False), (598_500, False), (598_499, True)])
def test_near_the_close_a_sold_leg_in_the_money_takes_it_out(price: int, is_in: bool) -> None:
    assert early(left_ms=119_000, price=price) is (ExitReason.ASSIGNMENT_RISK if is_in else None)
    assert early(left_ms=120_000, price=price) is None
    assert early(left_ms=119_000, spot=at(price, DataType.DELAYED)) is None
    assert early(left_ms=119_000, spot=None) is None
    assert early(replace(EARLY, in_money_before_close_ms=0), left_ms=119_000, price=price) is None


def test_a_loss_of_all_legs_together_takes_it_out() -> None:
    rules = replace(CONDOR, vertical_loss=100.0)
    for puts, wanted in ((-5_000, None), (-5_001, ExitReason.POSITION_LOSS)):
        assert exit_of(marks(-5_000, 0, 0, puts), rules) is wanted
    assert exit_of(marks(0, 0, 0, None), rules) is None
    assert exit_of([*marks(0, 0, 0), Marked(None, None, is_blind=True)], rules) is ExitReason.BLIND


# -- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"spread": {"combination": "iron condor", "vertical_width": 10}}, "exclude each other"),
        ({"spread": {"combination": "iron condor"}, "broker": {"orders": "tastytrade"}}, "is one order"),
        ({"spread": {"combination": "calendar"}}, "every leg expires today"),
        ({"spread": {"combination": "iron condor", "wing_width": 7}}, "wing_width"),
        ({"spread": {"combination": "iron condor", "wing_width": 0}}, "wing_width"),
        ({"spread": {"combination": "iron butterfly", "short_distance": 2.5}}, "short_distance"),
        ({"spread": {"combination": "strangle"}}, "spread.combination"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(profile="demo", overrides=settings)


def test_nothing_of_it_is_on_by_default() -> None:
    assert (PLAIN.combination, PLAIN.is_of_index, PLAIN.profit_share) == (None, False, 0)
    assert early(PLAIN, left_ms=1, price=700_000, legs=marks(10**9, 0, 0, 0)) is None
