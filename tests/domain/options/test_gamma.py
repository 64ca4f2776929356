"""The gamma profile, the flip and the exposures of hand-made chains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from domain.options import black_scholes, gamma
from domain.options.gamma import Chain, ChainRefusal, GammaProfile, Ladder


def chain_of(
    rows: list[tuple[float, str, float, float]], spot: float = 6_000.0, iv: float = 0.2, minutes: float = 200.0
) -> Chain:
    """Make a chain of (strike, right, open interest, volume)."""
    strikes = np.array([r[0] for r in rows])
    is_call = np.array([r[1] == "C" for r in rows], np.bool_)
    size = len(rows)
    return Chain(
        spot,
        Ladder.of(strikes, is_call),
        np.array([r[2] for r in rows]),
        np.array([r[3] for r in rows]),
        np.full(size, iv),
        np.full(size, minutes),
    )


BALANCED = [(5_950.0, "P", 1_000.0, 10.0), (6_050.0, "C", 1_000.0, 20.0)]


def profile(chain: Chain) -> GammaProfile:
    found = gamma.profile_of(chain)
    assert isinstance(found, GammaProfile)
    return found


def test_one_contract_counts_gamma_times_hundred_times_spot_squared_per_percent() -> None:
    only = profile(chain_of([(6_000.0, "C", 1.0, 0.0)]))
    expected = float(black_scholes.gamma(6_000.0, 6_000.0, 200 / 525_600, 0.2)) * 100 * 6_000.0**2 * 0.01
    assert only.gex_oi.tolist() == pytest.approx([expected])
    assert only.gex_vol.tolist() == [0.0]


def test_puts_count_negative_and_rows_of_one_strike_are_summed() -> None:
    both = profile(chain_of([(6_000.0, "P", 3.0, 1.0), (6_000.0, "C", 1.0, 5.0), (6_005.0, "C", 2.0, 0.0)]))
    assert both.levels.tolist() == [6_000.0, 6_005.0]
    assert both.put_oi[0] == pytest.approx(-3.0 * both.call_oi[0])
    assert both.gex_oi[0] < 0.0 < both.gex_vol[0]
    assert gamma.major_positive(both.levels, both.gex_oi) == 6_005.0
    assert gamma.major_negative(both.levels, both.gex_oi) == 6_000.0


def test_no_negative_level_has_no_major() -> None:
    calls = profile(chain_of([(6_000.0, "C", 1.0, 1.0)]))
    assert gamma.major_negative(calls.levels, calls.gex_oi) is None


def test_flip_of_a_balanced_chain_lies_between_its_strikes_where_the_sum_is_zero() -> None:
    chain = chain_of(BALANCED)
    flip = gamma.zero_gamma(chain, chain.open_interest)
    assert flip is not None and 5_990.0 < flip < 6_010.0
    there = profile(replace(chain, spot=flip))
    assert abs(there.gex_oi.sum()) < 1e-3 * there.call_oi.sum()


def test_of_two_flips_the_nearest_to_spot_is_given() -> None:
    rows = [(5_950.0, "C", 1.0, 0.0), (6_000.0, "P", 1.0, 0.0), (6_050.0, "C", 1.0, 0.0)]
    chain = chain_of(rows, iv=0.05)
    low = gamma.zero_gamma(replace(chain, spot=5_980.0), chain.open_interest)
    high = gamma.zero_gamma(replace(chain, spot=6_020.0), chain.open_interest)
    assert low == pytest.approx(5_975.0, abs=2.0) and high == pytest.approx(6_025.0, abs=2.0)


@pytest.mark.parametrize("strike", [180.0 * 0.92, 180.0 * 1.08])
def test_a_flip_far_from_spot_is_found_where_it_is_looked_for_that_far(strike: float) -> None:
    far = [(strike, "P", 9.0, 0.0), (180.0, "C", 1.0, 0.0)]
    chain = chain_of(far, spot=180.0, iv=0.3)
    assert gamma.zero_gamma(chain, chain.open_interest) is None
    flip = gamma.zero_gamma(chain, chain.open_interest, 0.10)
    assert flip is not None and 0.03 < abs(flip / 180.0 - 1.0) < 0.08


def test_a_flip_near_spot_is_the_same_however_far_is_looked() -> None:
    chain = chain_of(BALANCED)
    assert gamma.zero_gamma(chain, chain.open_interest, 0.10) == gamma.zero_gamma(chain, chain.open_interest)


def test_chain_of_calls_alone_has_no_flip() -> None:
    chain = chain_of([(6_000.0, "C", 5.0, 1.0)])
    assert gamma.zero_gamma(chain, chain.open_interest) is None
    assert gamma.zero_gamma(chain, chain.open_interest, 0.10) is None


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (chain_of([]), ChainRefusal.EMPTY),
        (chain_of([(6_000.0, "C", 0.0, 0.0), (6_000.0, "P", 0.0, 0.0)]), ChainRefusal.ALL_ZERO),
        (chain_of(BALANCED, iv=0.0), ChainRefusal.ALL_ZERO),
        (chain_of(BALANCED, minutes=0.0), ChainRefusal.NO_TIME_LEFT),
        (chain_of(BALANCED, iv=np.nan), ChainRefusal.NOT_FINITE),
        (chain_of(BALANCED, spot=0.0), ChainRefusal.NOT_FINITE),
    ],
)
def test_chain_that_must_not_be_traded_on_is_refused(chain: Chain, reason: ChainRefusal) -> None:
    assert gamma.profile_of(chain) is reason


def test_expired_rows_of_a_mixed_chain_count_nothing() -> None:
    chain = chain_of(BALANCED)
    half = replace(chain, minutes=np.array([0.0, 200.0]))
    assert profile(half).gex_oi[0] == 0.0 and profile(half).gex_oi[1] > 0.0


def test_long_call_of_customers_has_positive_delta_and_convexity_and_a_short_put_negative_convexity() -> None:
    chain = chain_of([(6_000.0, "C", 1.0, 1.0), (6_000.0, "P", 1.0, 1.0)])
    long_call = gamma.exposures_of(chain, np.array([7.0, 0.0]))
    short_put = gamma.exposures_of(chain, np.array([0.0, -7.0]))
    assert long_call.delta[0] > 0.0 and long_call.gamma[0] > 0.0 and long_call.gex[0] > 0.0
    assert short_put.delta[0] > 0.0 and short_put.gamma[0] < 0.0 and short_put.gex[0] > 0.0
    assert long_call.call_delta == pytest.approx(long_call.delta[0]) and long_call.put_delta == 0.0


def test_charm_and_vanna_are_the_deltas_that_an_hour_and_a_point_bring() -> None:
    chain = chain_of([(6_030.0, "C", 1.0, 1.0)], minutes=600.0)
    now = gamma.exposures_of(chain, np.array([1.0]))
    later = gamma.exposures_of(replace(chain, minutes=np.array([599.0])), np.array([1.0]))
    wilder = gamma.exposures_of(replace(chain, iv=chain.iv + 0.0001), np.array([1.0]))
    assert (later.delta[0] - now.delta[0]) * 60.0 == pytest.approx(now.charm[0], rel=0.01)
    assert (wilder.delta[0] - now.delta[0]) * 100.0 == pytest.approx(now.vanna[0], rel=0.01)


def test_part_of_a_chain_is_the_chain_of_those_rows() -> None:
    chain = chain_of(BALANCED)
    part = chain.part(slice(1, 2), Ladder.of(np.array([6_050.0]), np.array([True])))
    alone = chain_of(BALANCED[1:])
    for shared, own in zip(part.greeks, alone.greeks, strict=True):
        assert shared.tolist() == own.tolist()
