"""Gamma of a chain: against 40-digit values, by the laws it must obey, and with the rows that people meet."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.options.chain_gamma import (
    ChainGamma,
    RowRefusal,
    crossings_of,
    gamma_of,
    grid_of,
    net_gamma,
    usable,
)
from domain.options.gamma import ChainRefusal
from tests.testkit.chains import AT, chain
from tests.testkit.paths import DATA


def computed(rows: list[dict[str, float]], spot: float = 100.0, minutes: float = 600.0) -> ChainGamma:
    found = gamma_of(chain(rows, spot, minutes), spot, AT)
    assert isinstance(found, ChainGamma)
    return found


def test_gamma_vanna_and_charm_are_those_of_the_reference_in_dollars() -> None:
    rows = json.loads((DATA / "bs_greeks_reference.json").read_text("utf-8"))["rows"]
    rows = [row for row in rows if row["r"] == row["q"] == 0.0 and row["gamma"] > 1e-200]
    assert len(rows) > 50
    for row in rows:
        told = {"strike": row["K"], "is_call": row["cp"] == "c", "iv": row["sigma"], "oi": 7.0}
        found = computed([told], spot=row["S"], minutes=row["minutes"])
        sign = 1.0 if row["cp"] == "c" else -1.0
        assert found.net == pytest.approx(sign * row["gamma"] * 7 * 100 * row["S"] ** 2 * 0.01, rel=1e-9, abs=1e-6)
        assert found.vanna == pytest.approx(sign * row["vanna_dDelta_dSigma"] * 7 * row["S"], rel=1e-9, abs=1e-5)
        charm = sign * row["charm_dDelta_dt_per_year"] * 7 * 100 * row["S"] / 8_760
        assert found.charm == pytest.approx(charm, rel=1e-9, abs=1e-4)


@given(
    strikes=st.lists(st.integers(80, 120), min_size=1, max_size=8, unique=True),
    oi=st.integers(1, 5_000),
    iv=st.floats(0.05, 1.5),
    minutes=st.floats(1.0, 50_000.0),
)
@settings(max_examples=40, deadline=None)
def test_a_call_and_a_put_of_the_same_strike_cancel(strikes: list[int], oi: int, iv: float, minutes: float) -> None:
    rows = [{"strike": k, "is_call": call, "oi": oi, "iv": iv} for k in strikes for call in (True, False)]
    found = gamma_of(chain(rows, minutes=minutes), 100.0, AT)
    if isinstance(found, ChainGamma):
        assert abs(found.net) <= 1e-9 * float(np.abs(found.by_call).sum())


@given(factor=st.floats(0.1, 50.0), iv=st.floats(0.1, 0.6))
@settings(max_examples=30, deadline=None)
def test_gamma_scales_with_open_interest_and_with_the_price_level(factor: float, iv: float) -> None:
    rows = [{"strike": k, "oi": 10.0 + k, "iv": iv, "is_call": k > 100} for k in (90, 95, 105, 110)]
    base = computed(rows, minutes=5_000)
    more = computed([row | {"oi": row["oi"] * factor} for row in rows], minutes=5_000)
    assert more.net == pytest.approx(base.net * factor, rel=1e-9)
    # γ × S² is of degree 1 in the price level: twice the prices are twice the dollars, and the same level in them.
    dearer = computed([row | {"strike": row["strike"] * factor} for row in rows], spot=100.0 * factor, minutes=5_000)
    assert dearer.net == pytest.approx(base.net * factor, rel=1e-9)
    assert base.zero_gamma is not None and dearer.zero_gamma is not None
    assert dearer.zero_gamma == pytest.approx(base.zero_gamma * factor, rel=1e-5)


@given(
    rows=st.lists(
        st.fixed_dictionaries({
            "strike": st.integers(60, 140), "is_call": st.booleans(), "oi": st.integers(0, 500),
            "iv": st.floats(0.05, 1.0), "minutes": st.floats(1.0, 20_000.0),
        }),
        min_size=1, max_size=12,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_grid_ascends_through_spot_and_every_crossing_has_both_signs(rows: list[dict[str, float]]) -> None:
    part = usable(chain(rows), 100.0, AT).chain
    grid = grid_of(part, part.open_interest)
    assert np.all(np.diff(grid) > 0.0)
    assert 100.0 in grid
    for crossing in crossings_of(part, part.open_interest):
        below, above = net_gamma(part, part.open_interest, np.array([crossing.price * 0.9999, crossing.price * 1.0001]))
        if below != 0.0 != above:
            assert bool(above > below) is crossing.is_up


def test_net_gamma_at_spot_is_the_sum_over_the_strikes() -> None:
    rows = [{"strike": k, "oi": k, "iv": 0.3, "is_call": k % 2 == 0} for k in range(90, 111)]
    found = computed(rows)
    part = usable(chain(rows), 100.0, AT).chain
    assert net_gamma(part, part.open_interest, np.array([100.0]))[0] == pytest.approx(found.net, rel=1e-9)
    assert found.net == pytest.approx(math.fsum(found.by_strike), rel=1e-9)


@pytest.mark.parametrize("away", [0.03, 0.05, 0.084, 0.2])
def test_a_flip_is_found_as_far_from_spot_as_the_chain_has_strikes(away: float) -> None:
    flip = 100.0 * (1.0 - away)
    rows = [{"strike": flip * 0.99, "is_call": False, "oi": 100.0}, {"strike": flip * 1.01, "oi": 100.0}]
    found = computed([*rows, {"strike": 100.0, "oi": 1.0}], minutes=1_440)
    assert found.zero_gamma is not None
    assert found.zero_gamma == pytest.approx(flip, rel=0.005)
    assert found.crossings[0].is_up


def test_of_several_flips_the_nearest_to_spot_is_the_zero_gamma_and_all_are_named() -> None:
    rows = [
        {"strike": 95, "is_call": False}, {"strike": 98}, {"strike": 101, "is_call": False}, {"strike": 104},
    ]  # fmt: skip
    found = computed(rows, minutes=30)
    assert [c.is_up for c in found.crossings] == [True, False, True]
    assert found.zero_gamma == min((c.price for c in found.crossings), key=lambda price: abs(price - 100.0))


@pytest.mark.parametrize("minutes", [120, 60, 30, 5])
def test_calls_alone_have_no_zero_gamma_though_far_points_underflow_to_zero(minutes: int) -> None:
    rows = [{"strike": 5_950 + 5 * n, "oi": 100.0, "iv": 0.12} for n in range(21)]
    assert computed(rows, spot=6_000.0, minutes=minutes).zero_gamma is None


def test_rows_that_cannot_be_priced_are_left_out_with_their_reason() -> None:
    rows: list[dict[str, float]] = [
        {"strike": 100},
        {"strike": 0}, {"strike": math.nan}, {"strike": math.inf},
        {"strike": 101, "oi": -1}, {"strike": 102, "oi": math.inf}, {"strike": 103, "volume": -5},
        {"strike": 104, "minutes": 0}, {"strike": 105, "minutes": -60},
        {"strike": 106, "iv": math.nan}, {"strike": 107, "iv": 0}, {"strike": 108, "iv": -0.2},
        {"strike": 109, "iv": 99},
        {"strike": 110, "iv": 0, "bid": 1.3, "ask": 1.2}, {"strike": 111, "iv": 0, "bid": 0, "ask": 0},
        {"strike": 90, "iv": 0, "bid": 10.0, "ask": 10.0 + 1e-9}, {"strike": 100},
    ]  # fmt: skip
    found = computed(rows)
    assert found.contracts == 1
    assert found.refused == {
        RowRefusal.BAD_STRIKE: 3, RowRefusal.BAD_COUNT: 3, RowRefusal.EXPIRED: 2, RowRefusal.NO_VOLATILITY: 5,
        RowRefusal.CROSSED_QUOTE: 1, RowRefusal.PRICE_AT_BOUND: 1, RowRefusal.REPEATED: 1,
    }  # fmt: skip
    assert math.isfinite(found.net) and math.isfinite(found.vanna) and math.isfinite(found.charm)


def test_a_deep_call_at_its_bound_takes_the_volatility_of_the_put_beside_it() -> None:
    rows: list[dict[str, float]] = [
        {"strike": 90, "iv": 0.0, "bid": 10.0, "ask": 10.000001, "oi": 50}, {"strike": 90, "is_call": False, "oi": 0},
    ]  # fmt: skip
    found, plain = computed(rows), computed([{"strike": 90, "oi": 50}])
    assert found.borrowed_n == 1
    assert found.net == pytest.approx(plain.net)


def test_a_volatility_that_is_not_given_comes_from_bid_and_ask() -> None:
    given_iv = usable(chain([{"strike": 102, "iv": 0.3}], minutes=5_000), 100.0, AT).chain
    mid = float(given_iv.greeks.price[0])
    asked = usable(
        chain([{"strike": 102, "iv": math.nan, "bid": mid - 0.1, "ask": mid + 0.1}], minutes=5_000), 100.0, AT
    )
    assert asked.chain.iv[0] == pytest.approx(0.3, rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "refusal"),
    [
        ([], ChainRefusal.EMPTY),
        ([{"oi": 0.0}], ChainRefusal.ALL_ZERO),
        ([{"oi": 0.0, "iv": 0.0, "bid": 0.0, "ask": 0.0}], ChainRefusal.ALL_ZERO),
        ([{"iv": 0.0, "bid": 0.0, "ask": 0.0}, {"minutes": -1.0}], ChainRefusal.ALL_ZERO),
        ([{"minutes": -1.0}], ChainRefusal.NO_TIME_LEFT),
        ([{"strike": 1.0, "oi": 100.0, "minutes": 1.0}], ChainRefusal.ALL_ZERO),
    ],
)
def test_a_chain_without_gamma_is_refused(rows: list[dict[str, float]], refusal: ChainRefusal) -> None:
    assert gamma_of(chain(rows), 100.0, AT) is refusal


@pytest.mark.parametrize("spot", [0.0, -1.0, math.inf, math.nan])
def test_a_spot_that_is_no_price_is_refused(spot: float) -> None:
    assert gamma_of(chain([{}]), spot, AT) is ChainRefusal.NOT_FINITE


def test_every_expiry_says_what_it_adds() -> None:
    rows = [{"minutes": 30.0, "oi": 5.0}, {"minutes": 1_440.0}, {"minutes": 1_440.0, "is_call": False, "strike": 95}]
    found = computed(rows)
    assert [(e.minutes, e.contracts, e.open_interest) for e in found.expiries] == [(30.0, 1, 5.0), (1_440.0, 2, 20.0)]
    assert math.fsum(e.net_gamma for e in found.expiries) == pytest.approx(found.net)
