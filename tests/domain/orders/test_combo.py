"""Combinations: which legs make one, who is given one, and what it loses at most."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instruments import Contract, Right, Side
from domain.orders.capabilities import CAPABILITIES, IB, TASTYTRADE
from domain.orders.combo import (
    COMBO_CON_ID,
    ComboKind,
    ComboLeg,
    combo_contract,
    increment_ticks,
    kind_of,
    refusal_of,
    worst_loss_cents,
)
from domain.units import Qty, Ticks

TODAY, TOMORROW = date(2026, 11, 20), date(2026, 11, 23)
B, S, C, P = Side.BUY, Side.SELL, Right.CALL, Right.PUT


def option(strike: int, right: Right, expiry: date = TODAY, ticker: str = "SPX") -> Contract:
    number = strike * 10 + (right is C) * 2 + (expiry == TODAY) + (ticker == "SPX") * 10**6
    return Contract(number, ticker, "SPXW", expiry, Ticks(strike * 100), right)


def leg(side: Side, strike: int, right: Right, ratio: int = 1, expiry: date = TODAY, ticker: str = "SPX") -> ComboLeg:
    return ComboLeg(option(strike, right, expiry, ticker), side, ratio)


VERTICAL = (leg(B, 6000, C), leg(S, 6010, C))
BUTTERFLY = (leg(B, 5990, P), leg(S, 6000, P, 2), leg(B, 6010, P))
CONDOR = (leg(B, 5980, P), leg(S, 5990, P), leg(S, 6010, C), leg(B, 6020, C))
CALENDAR = (leg(S, 6000, C), leg(B, 6000, C, expiry=TOMORROW))
ALSO_6000 = ComboLeg(replace(option(6000, C), con_id=9, trading_class="SPX"), S)
LATER_6000 = replace(option(6000, C), con_id=8, trading_class="SPXQ")


@pytest.mark.parametrize(
    ("legs", "kind"),
    [
        (VERTICAL, ComboKind.VERTICAL),
        ((leg(S, 6000, P), leg(B, 5990, P)), ComboKind.VERTICAL),
        (BUTTERFLY, ComboKind.BUTTERFLY),
        ((leg(S, 5990, C), leg(B, 6000, C, 2), leg(S, 6010, C)), ComboKind.BUTTERFLY),
        (CONDOR, ComboKind.IRON_CONDOR),
        ((leg(B, 5990, P), leg(S, 6000, P), leg(S, 6000, C), leg(B, 6010, C)), ComboKind.IRON_CONDOR),
        (CALENDAR, ComboKind.CALENDAR),
        (VERTICAL[:1], None),
        ((leg(B, 6000, C), leg(B, 6010, C)), None),
        ((leg(B, 6000, C), leg(S, 6000, P)), None),  # a synthetic share
        ((leg(B, 6000, C), leg(S, 6010, P)), None),
        ((leg(B, 6000, C), leg(S, 6010, C, 2)), None),
        ((leg(B, 6000, C), leg(S, 6000, C)), None),
        ((leg(B, 6000, C), ALSO_6000), None),  # of one strike, settled in the morning and at the close
        ((leg(B, 6000, C), leg(S, 6010, C, ticker="SPY")), None),
        ((leg(B, 6000, C), leg(S, 6010, C, expiry=TOMORROW)), None),  # a diagonal
        ((leg(B, 5990, P), leg(S, 6000, P), leg(B, 6010, P)), None),
        ((leg(B, 5990, P), leg(S, 6000, P, 2), leg(B, 6020, P)), None),  # uneven wings
        ((leg(B, 5990, P), leg(S, 6000, P, 2), leg(S, 6010, P)), None),
        ((leg(B, 6000, C), replace(ALSO_6000, ratio=2), replace(ALSO_6000, contract=LATER_6000, side=B)), None),
        ((leg(B, 5980, P), leg(S, 5990, P), leg(B, 6010, C), leg(S, 6020, C)), None),
        ((leg(B, 6000, P), leg(S, 6010, P), leg(S, 5990, C), leg(B, 6020, C)), None),  # the sides cross
        ((leg(B, 5980, P), leg(S, 6005, P), leg(S, 6000, C), leg(B, 6020, C)), None),  # so do the sold ones
        ((), None),
    ],
)  # fmt: skip
def test_legs_are_known_by_their_shape_in_whatever_order(legs: tuple[ComboLeg, ...], kind: ComboKind | None) -> None:
    assert {kind_of(named) for named in permutations(legs)} == {kind}


def test_a_broker_that_takes_combinations_is_given_every_known_one_and_nothing_else() -> None:
    for legs in (VERTICAL, BUTTERFLY, CONDOR, CALENDAR):
        assert refusal_of(legs, CAPABILITIES[IB]) is None
    said = refusal_of(VERTICAL[:1], CAPABILITIES[IB])
    assert said == (
        "these 1 legs are none of the combinations that are known (vertical, butterfly, iron condor, calendar)"
    )


def test_a_broker_that_takes_none_is_given_none_and_no_legs_either() -> None:
    said = refusal_of(CONDOR, CAPABILITIES[TASTYTRADE])
    assert said == "this broker takes no combination as one order, and its legs are not sent one by one"


def test_what_stands_for_a_combination_is_no_contract_that_could_be_traded() -> None:
    assert COMBO_CON_ID == 28_812_380  # so do the reports of IB name it
    stands = combo_contract(CONDOR)
    assert (stands.con_id, stands.trading_class, stands.ticker, stands.strike_ticks) == (COMBO_CON_ID, "BAG", "SPX", 0)
    assert [combo_contract(legs).expiry for legs in (CALENDAR, CALENDAR[::-1])] == [TODAY, TOMORROW]  # of its first leg


def test_a_net_price_steps_by_a_nickel_in_options_of_an_index_and_by_a_cent_in_others() -> None:
    assert [increment_ticks(ticker) for ticker in ("SPX", "SPY", "NVDA")] == [5, 1, 1]


def holdings(legs: Sequence[ComboLeg]) -> list[tuple[Contract, Qty]]:
    return [(one.contract, Qty(one.ratio * one.side.sign)) for one in legs]


@pytest.mark.parametrize(
    ("legs", "worst_usd"),
    [
        (VERTICAL, 0), ((leg(S, 6000, C), leg(B, 6010, C)), 1_000), (CONDOR, 1_000), (BUTTERFLY, 0),
        ((leg(S, 5990, P), leg(B, 6000, P, 2), leg(S, 6010, P)), 1_000), ((leg(S, 6000, P),), 600_000),
        ((leg(B, 6000, C),), 0),
        ((leg(B, 6000, P), leg(B, 5900, C), leg(S, 7000, C)), 0),  # it is worth something at any price
    ],
)  # fmt: skip
def test_the_most_a_combination_loses_is_the_width_of_its_wings(legs: tuple[ComboLeg, ...], worst_usd: int) -> None:
    assert worst_loss_cents(holdings(legs)) == worst_usd * 100


@given(
    st.lists(st.integers(590, 610), min_size=3, max_size=3, unique=True).map(sorted), st.sampled_from(Right),
    st.booleans(), st.integers(500, 700),
)  # fmt: skip
def test_no_price_at_expiry_costs_more_than_the_worst(
    strikes: list[int], right: Right, is_sold: bool, settled: int
) -> None:
    sides = (S, B, S) if is_sold else (B, S, B)
    legs = [leg(side, strike, right, ratio) for side, strike, ratio in zip(sides, strikes, (1, 2, 1), strict=True)]
    worst = worst_loss_cents(holdings(legs))
    assert worst is not None
    paid = sum(
        max(0, settled - strike if right is C else strike - settled) * ratio * side.sign * 10_000
        for strike, ratio, side in zip(strikes, (1, 2, 1), sides, strict=True)
    )
    assert -paid <= worst


def test_a_long_that_ends_before_the_last_of_the_shorts_covers_none_of_them() -> None:
    legs = (leg(S, 6000, P), leg(S, 6000, P, expiry=TOMORROW), leg(B, 5990, P, 2))
    assert worst_loss_cents(holdings(legs)) == 2 * 600_000 * 100


def test_what_is_no_longer_held_lays_claim_to_no_cover() -> None:
    held = holdings((leg(S, 6010, C), leg(B, 6010, C)))
    assert worst_loss_cents([*held, (option(6000, C, expiry=TOMORROW), Qty(0))]) == 0


def test_a_short_call_that_nothing_covers_to_its_end_has_no_worst() -> None:
    assert worst_loss_cents(holdings((leg(S, 6000, C),))) is None
    assert worst_loss_cents(holdings((leg(B, 6000, C), leg(S, 6000, C, expiry=TOMORROW)))) is None
