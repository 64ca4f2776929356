"""The window of strikes that is streamed follows the money without chattering."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instruments import Contract, Right
from domain.options.contract_choice import calm_range, centre, chain_of, near, nearest

STRIKES = tuple(range(50_000, 60_000, 100))


@pytest.mark.parametrize("around", [3, 5, 10])
def test_one_strike_to_and_fro_moves_nothing(around: int) -> None:
    assert centre(STRIKES, 55_100, 55_000, around) == 55_000
    assert centre(STRIKES, 54_900, 55_000, around) == 55_000


@pytest.mark.parametrize("around", [2, 3, 5, 10])
def test_the_money_is_always_inside_the_window(around: int) -> None:
    held = 55_000
    for price in (*range(55_000, 59_000, 50), *range(59_000, 51_000, -50)):
        held = centre(STRIKES, price, held, around)
        assert abs(held - price) < around * 100


@given(price=st.integers(50_000, 60_000), held=st.sampled_from(STRIKES), around=st.integers(1, 12))
def test_the_calm_range_is_where_the_centre_stays(price: int, held: int, around: int) -> None:
    above, up_to = calm_range(STRIKES, held, around)
    assert (above < 2 * price <= up_to) == (centre(STRIKES, price, held, around) == held)


@given(centre_ticks=st.integers(49_000, 61_000), around=st.integers(0, 6), odd=st.sampled_from(STRIKES))
def test_contracts_near_a_centre_are_those_of_the_strikes_around_the_nearest(
    centre_ticks: int, around: int, odd: int
) -> None:
    contracts = tuple(
        Contract(2 * n + (right is Right.CALL), "SPY", "SPY", date(2026, 11, 20), strike, right)
        for n, strike in enumerate(STRIKES)
        for right in Right
        if strike != odd or right is Right.CALL
    )
    middle = nearest(STRIKES, centre_ticks)
    inside = STRIKES[max(0, middle - around) : middle + around + 1]
    assert near(chain_of(contracts), centre_ticks, around) == tuple(c for c in contracts if c.strike_ticks in inside)
