"""The adaptive profile only ever tightens, by a table, and never beyond the fixed profile."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import load_settings
from domain.instants import MINUTE
from domain.limits import TickerRules
from domain.position.adaptive import Scales, profile_of, scales_at, tighter
from domain.position.exits import size_ticks
from domain.position.profiles import Profile
from domain.units import Ticks

SETTINGS = load_settings(profile="real")
EXITS, RULES = SETTINGS.exits, SETTINGS.exits.adaptive
SPX, SINGLE = SETTINGS.ticker_rules["SPX"], SETTINGS.ticker_rules["NVDA"]
VOLATILITY = st.none() | st.floats(0, 50) | st.just(float("nan"))


@pytest.mark.parametrize(
    ("realised", "left_min", "stop"),
    [
        (None, 300, 1.0), (0.0, 300, 1.0), (0.29, 120, 1.0), (0.3, 120, 0.9), (0.59, 119.9, 0.9 * 0.9),
        (0.6, 60, 0.75 * 0.9), (1.0, 59.9, 0.6 * 0.75), (9.0, 30, 0.6 * 0.75), (None, 29.9, 0.6), (None, 0, 0.6),
        (None, -5, 0.6), (float("nan"), 300, 0.6),
    ],
)  # fmt: skip
def test_the_stops_scale_is_the_row_of_volatility_times_that_of_the_time_left(
    realised: float | None, left_min: float, stop: float
) -> None:
    assert scales_at(realised, round(left_min * MINUTE), RULES).stop == pytest.approx(stop)


@pytest.mark.parametrize(
    ("left_min", "take"), [(400, 1.0), (120, 1.0), (119, 1.0), (110, 0.95), (60, 0.65), (1, 0.35), (0, 0.3), (-5, 0.3)]
)
def test_the_profit_that_is_taken_falls_in_a_straight_line_in_steps(left_min: float, take: float) -> None:
    assert scales_at(None, round(left_min * MINUTE), RULES).take == pytest.approx(take)


def test_the_scaled_profile_changes_stops_and_profits_alone() -> None:
    made = profile_of(EXITS, SPX, Scales(0.5, 0.8))
    assert (made.exits.premium_stop, made.exits.premium_backstop) == (EXITS.premium_stop * 0.5, EXITS.premium_backstop)
    assert (made.exits.take_single, made.exits.take_first, made.exits.take_rest) == pytest.approx((0.48, 0.4, 0.8))
    assert made.ticker.underlying_stop_ticks == 500
    back = replace(made.exits, premium_stop=EXITS.premium_stop, take_single=0.6, take_first=0.5, take_rest=1.0)
    assert back == EXITS
    assert replace(made.ticker, underlying_stop_ticks=SPX.underlying_stop_ticks) == SPX
    assert profile_of(EXITS, SINGLE, Scales(0.5)).ticker.underlying_stop_bps == pytest.approx(20)


def test_a_scale_of_one_is_the_fixed_profile() -> None:
    assert profile_of(EXITS, SPX, Scales()) == Profile(EXITS, SPX)
    assert profile_of(EXITS, SINGLE, Scales()) == Profile(EXITS, SINGLE)


def test_of_two_scales_the_tighter_one_of_each_counts() -> None:
    assert (
        tighter(Scales(0.9, 0.5), Scales(0.8, 0.7)) == tighter(Scales(0.8, 0.7), Scales(0.9, 0.5)) == Scales(0.8, 0.5)
    )


def test_no_size_is_scaled_to_nothing() -> None:
    tiny = replace(SPX, underlying_stop_ticks=Ticks(1))
    assert profile_of(EXITS, tiny, Scales(0.1)).ticker.underlying_stop_ticks == 1


def sizes(profile: Profile, spot: Ticks) -> tuple[float, ...]:
    """Return every distance that the profile leaves at: of premium, of the underlying, of profit."""
    exits, ticker = profile.exits, profile.ticker
    stop = size_ticks(ticker.underlying_stop_ticks, ticker.underlying_stop_bps, spot)
    assert stop is not None
    return exits.premium_stop, stop, exits.take_single, exits.take_first, exits.take_rest


@given(path=st.lists(st.tuples(VOLATILITY, st.floats(-10, 400)), min_size=1), ticker=st.sampled_from([SPX, SINGLE]))
def test_over_any_path_a_held_positions_stops_only_ever_tighten(
    path: list[tuple[float | None, float]], ticker: TickerRules
) -> None:
    scales, seen = Scales(), [sizes(Profile(EXITS, ticker), Ticks(600_000))]
    for realised, left_min in path:
        scales = tighter(scales, scales_at(realised, round(left_min * MINUTE), RULES))
        seen.append(sizes(profile_of(EXITS, ticker, scales), Ticks(600_000)))
    assert all(now <= before for a, b in pairwise(seen) for before, now in zip(a, b, strict=True))
    assert min(seen[-1]) > 0
