"""What one bucket's rows say as numbers: by hand, and missing where a row is, or saturates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.feature_sessions import FULL
from domain.features.measures import MEASURES, measured, with_measures
from domain.options.profile import CLIPPED, PRIORS, SCALARS, VALUE_COLUMNS, Profile, shape_of
from domain.signals.registry import INDEX
from domain.signals.snapshot import reduced
from tests.testkit.signal_histories import OPEN, rows_of

SPOT = 600_000
STRIKES = [598_000, 599_000, 600_500, 602_000]


def profile(category: str, rows: list[list[int]], strikes: list[int] | None = None, **scalars: int) -> Profile:
    """Return a profile with these values along strikes, in the wire's integers."""
    shape = shape_of(category)
    at = np.array(STRIKES[: len(rows)] if strikes is None else strikes, np.int32)
    values = np.array(rows, np.int32).reshape(len(rows), len(VALUE_COLUMNS[shape]))
    told = tuple(scalars.get(name, 0) for name in SCALARS[shape])
    return Profile("SPX", category, OPEN, SPOT, told, at, values, np.zeros((len(rows), PRIORS[shape]), np.int32))


def said(
    *profiles: Profile, spot: int | None = SPOT, iv: float | None = 0.2, left: float = 100.0
) -> dict[str, float | None]:
    found = measured({one.category: one for one in profiles}, spot, iv, left)
    return dict(zip(MEASURES, found, strict=True))


def zero(column: list[int], **scalars: int) -> Profile:
    return profile("classic_gex_zero", [[value, -2 * value] for value in column], **scalars)


def greek(category: str, exposures: list[int], ivs: tuple[int, int] = (200, 210)) -> Profile:
    return profile(category, [[*ivs, value] for value in exposures])


def test_sums_are_in_the_vendors_millions() -> None:
    found = said(
        zero([-100, 300, 0, 50], sum_gex_vol=2_500, sum_gex_oi=-5_000, max_strike_5=599_000, max_change_5=-750)
    )
    wanted = {
        "net_vol": 2.5, "gross_vol": 4.5, "call_vol": 3.5, "put_vol": -1.0, "net_oi": -5.0, "gross_oi": 9.0,
        "call_oi": 2.0, "put_oi": -7.0, "max_strike_5": 599_000.0, "max_change_5": -0.75, "state_imbalance": None,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted


def test_the_shape_of_a_profile_by_hand() -> None:
    found = said(zero([-100, 300, 0, 100]))
    share = np.array([0.2, 0.6, 0.0, 0.2])
    away = (np.array(STRIKES) - SPOT) / SPOT * 1e4
    centre = (share * away).sum()
    deviation = math.sqrt((share * (away - centre) ** 2).sum())
    assert found["shape_centre_bps"] == pytest.approx(centre)
    assert found["shape_spread_bps"] == pytest.approx(deviation)
    assert found["shape_skew"] == pytest.approx((share * (away - centre) ** 3).sum() / deviation**3)
    assert found["shape_concentration"] == pytest.approx(0.04 + 0.36 + 0.04)
    assert found["shape_share_above"] == pytest.approx(0.2)
    assert found["shape_share_below"] == pytest.approx(0.8)
    assert found["shape_largest_wall"] == pytest.approx(0.6)
    assert found["shape_sign_changes"] == 1.0  # the empty strike is passed over
    assert found["shape_slope_at_spot"] == pytest.approx((0 - 300) / 500)
    assert found["shape_gap_up_bps"] == pytest.approx(2_000 / SPOT * 1e4)
    assert found["shape_gap_down_bps"] == pytest.approx(1_000 / SPOT * 1e4)


def test_a_strike_at_spot_is_neither_above_nor_below() -> None:
    found = said(profile("classic_gex_zero", [[10, 0], [30, 0], [60, 0]], [599_000, SPOT, 601_000]))
    assert (found["shape_share_above"], found["shape_share_below"]) == (0.6, 0.1)
    assert found["shape_slope_at_spot"] == pytest.approx((60 - 30) / 100)


def test_strikes_without_gamma_are_no_wall() -> None:
    found = said(zero([100, 200, 0, 0]))
    assert (found["shape_gap_up_bps"], found["shape_share_above"]) == (None, 0.0)


def test_without_a_strike_on_one_side_what_needs_it_is_missing() -> None:
    found = said(profile("classic_gex_zero", [[10, 0], [30, 0]], [601_000, 602_000]))
    assert (found["shape_slope_at_spot"], found["shape_gap_down_bps"]) == (None, None)
    assert found["shape_share_below"] == 0.0
    assert found["shape_gap_up_bps"] == pytest.approx(2_000 / SPOT * 1e4)


@pytest.mark.parametrize("column", [[0, 0, 0, 0], [CLIPPED, 1, 1, 1], [-CLIPPED, 1, 1, 1], []])
def test_an_empty_and_a_saturated_column_have_no_shape(column: list[int]) -> None:
    found = said(profile("classic_gex_zero", [[value, 0] for value in column]))
    assert [name for name in MEASURES if name.startswith("shape_") and found[name] is not None] == []


def test_saturated_scalars_are_missing() -> None:
    found = said(
        zero([100, 100, 100, 100], sum_gex_vol=CLIPPED, sum_gex_oi=-CLIPPED, max_change_5=CLIPPED),
        profile("orderflow_orderflow", [], agg_dex=CLIPPED, zgr=-CLIPPED, zcvr=150),
    )
    assert [found[n] for n in ("net_vol", "net_oi", "max_change_5", "agg_dex", "zgr")] == [None] * 5
    assert (found["gross_vol"], found["zcvr"]) == (4.0, 1.5)


def test_exposures_are_net_over_gross() -> None:
    categories = [
        "state_delta_zero", "state_gamma_zero", "state_vanna_zero", "state_charm_zero", "state_gamma_one",
        "state_vanna_one", "state_charm_one",
    ]  # fmt: skip
    found = said(*(greek(category, [100, -300, 0, 0]) for category in categories))
    assert {name: found[name] for name in found if name.startswith("greek_") and found[name] == -0.5} == dict.fromkeys(
        (name.replace("state", "greek") for name in categories), -0.5
    )
    flow = profile("orderflow_orderflow", [], one_net_dex=-50, one_net_call_dex=100, one_net_put_dex=-150)
    assert said(flow)["greek_delta_one"] == -0.2
    assert said(profile("orderflow_orderflow", []))["greek_delta_one"] is None


def test_near_spot_are_the_strikes_within_25_bps_or_the_nearest() -> None:
    found = said(greek("state_vanna_zero", [100, -300, 50, 550]), greek("state_charm_zero", [0, 0, 0, 0]))
    assert found["greek_vanna_near"] == pytest.approx((-300 + 50) / 1_000)  # 16.7 and 8.3 bps away, the others beyond
    assert found["charm_near"] is None
    far = profile("state_charm_zero", [[0, 0, 1], [0, 0, 3]], [590_000, 615_000])
    assert said(far)["charm_near"] == 0.25


def test_skew_is_read_half_an_expected_move_away_on_either_side() -> None:
    strikes = [590_000, 598_000, 599_500, 600_500, 601_400, 610_000]
    rows = [[900, 250, 0], [900, 230, 0], [900, 220, 0], [190, 900, 0], [180, 900, 0], [170, 900, 0]]
    gamma = profile("state_gamma_zero", rows, strikes)
    half = 0.5 * SPOT * 0.2 * math.sqrt(100 / 525_600)
    assert 800 < half < 850  # nearest: 599,500 below, 600,500 above
    assert said(gamma)["greek_iv_skew"] == pytest.approx((0.22 - 0.19) / 0.2)
    assert said(gamma, left=700.0)["greek_iv_skew"] == pytest.approx((0.23 - 0.18) / 0.2)  # 2,190 away
    assert said(gamma, left=0.0)["greek_iv_skew"] is None
    assert said(gamma, iv=None)["greek_iv_skew"] is None
    assert said(profile("state_gamma_zero", rows[:3], strikes[:3]))["greek_iv_skew"] is None
    absurd = profile("state_gamma_zero", [[200, 10_001, 0], [200, 200, 0]], [599_500, 600_500])
    assert said(absurd)["greek_iv_skew"] is None


def test_without_spot_only_what_needs_none_is_there() -> None:
    found = said(zero([100, 100, 100, 100], sum_gex_vol=1), greek("state_vanna_zero", [1, 1, 1, 1]), spot=None)
    there = {name for name in found if found[name] is not None}
    assert there == {
        "net_vol", "net_oi", "gross_vol", "gross_oi", "call_vol", "call_oi", "put_vol", "put_oi", "max_change_5",
        "greek_vanna_zero",
    }  # fmt: skip


def test_without_rows_nothing_is_there() -> None:
    assert set(said().values()) == {None}


def test_every_measure_that_bears_a_features_name_is_that_feature() -> None:
    assert sum(name in INDEX for name in MEASURES) == 21  # eleven shapes, ten greeks


def test_a_snapshot_gets_the_measures_of_its_rows() -> None:
    rows = rows_of("classic", OPEN, zero([100, 100, 100, 100], sum_gex_vol=1_000)).rows
    snapshot = with_measures(reduced(OPEN, rows), rows, FULL)
    assert snapshot.measures is not None
    assert dict(zip(MEASURES, snapshot.measures, strict=True))["net_vol"] == 1.0
    assert snapshot.spot == SPOT
