"""Five forces: gamma scales and does not vote; confidence, alignment, and what pushed how far."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.context import CONTEXT
from domain.features.evidence import Evidence
from domain.features.forces import CARRIERS, GAMMA, INPUTS, explained, forces_of
from domain.features.measures import Floats
from domain.signals.registry import FEATURES, INDEX

NAMES = list(INPUTS)
CELL = st.one_of(st.just(math.nan), st.floats(-1e6, 1e6))


def features(**known: float) -> Floats:
    out = np.full(len(FEATURES), np.nan)
    for name, value in known.items():
        out[INDEX[name]] = value
    return out


def context(**known: float) -> Floats:
    return np.array([known.get(name, math.nan) for name in CONTEXT])


def forces(values: Floats, beside: Floats) -> tuple[dict[str, float], dict[str, float], float]:
    found = forces_of(values[:, None, None], beside[:, None, None])
    scores = dict(zip(NAMES, found.scores[:, 0, 0].tolist(), strict=True))
    return scores, dict(zip(NAMES, found.confidences[:, 0, 0].tolist(), strict=True)), float(found.alignment[0, 0])


UPWARD = {
    "price_time_of_day": 1.0, "greek_charm_zero": 0.5, "greek_charm_one": 0.5, "greek_charm_near_left": 0.1,
    "greek_vanna_zero": 0.5, "greek_vanna_one": 0.5, "greek_vanna_near": 0.25,
    "flow_dex_5m_z": 2.0, "flow_dex_15m_z": 2.0,
    "loc_major_pos_vol_moves": 0.5, "loc_major_neg_vol_moves": 0.5, "price_momentum": 1.0, "price_return_5m_bps": 10.0,
}  # fmt: skip
DAMPING = {"loc_zero_gamma_bps": 1e6, "loc_zero_gamma_moves": 1e6, "mag_net_vol_z": 1e6, "mag_net_oi_z": 1e6}
RISING = context(iv_change_15m=1.0)


def test_a_force_is_the_mean_of_what_its_inputs_press() -> None:
    scores, confidences, _ = forces(features(price_momentum=1.0, price_return_5m_bps=-10.0), context())
    assert scores["structure"] == 0.0
    scores, confidences, _ = forces(features(price_momentum=1.0, price_return_5m_bps=20.0), context())
    assert scores["structure"] == pytest.approx((math.tanh(1.0) + math.tanh(2.0)) / 2)
    assert confidences["structure"] == 0.5
    assert (scores["flow"], confidences["flow"]) == (0.0, 0.0)


def test_gamma_has_no_direction_it_scales_the_others() -> None:
    calm, _, with_nothing = forces(features(**UPWARD), RISING)
    damped, _, with_damping = forces(features(**UPWARD, **DAMPING), RISING)
    driven, _, with_driving = forces(features(**UPWARD, **{name: -value for name, value in DAMPING.items()}), RISING)
    for name in NAMES:
        if name != GAMMA:
            assert damped[name] == pytest.approx(0.5 * calm[name])
            assert driven[name] == pytest.approx(min(1.5 * calm[name], 1.0))
    assert (damped[GAMMA], driven[GAMMA]) == (1.0, -1.0)
    assert with_damping < with_nothing < with_driving
    assert math.isnan(forces(features(**DAMPING), context())[2])  # alone it aligns nothing


def test_vanna_presses_only_while_volatility_moves_and_the_way_it_moves() -> None:
    up, _, _ = forces(features(**UPWARD), RISING)
    down, _, _ = forces(features(**UPWARD), context(iv_change_15m=-1.0))
    still, _, _ = forces(features(**UPWARD), context(iv_change_15m=0.0))
    _, unknown, _ = forces(features(**UPWARD), context())
    assert up["vanna"] == -down["vanna"] > 0.5
    assert (still["vanna"], unknown["vanna"]) == (0.0, 0.0)


def test_charm_grows_to_the_close() -> None:
    late, _, _ = forces(features(**UPWARD), RISING)
    early, _, _ = forces(features(**{**UPWARD, "price_time_of_day": 0.1}), RISING)
    assert 0.0 < early["charm"] < late["charm"]


def test_convexity_bought_goes_with_the_delta_that_is_traded() -> None:
    for sign in (1.0, -1.0):
        alone, _, _ = forces(features(flow_dex_5m_z=2.0 * sign), context())
        bought, _, _ = forces(features(flow_dex_5m_z=2.0 * sign, flow_cvr_5m_z=50.0), context())
        sold, _, _ = forces(features(flow_dex_5m_z=2.0 * sign, flow_cvr_5m_z=-50.0), context())
        assert sign * alone["flow"] > 0.0
        assert bought["flow"] == pytest.approx(alone["flow"])  # as sure as the delta itself
        assert sold["flow"] == pytest.approx(0.0)


def test_alignment_is_the_mean_times_the_share_that_agrees() -> None:
    against = {**UPWARD, "greek_charm_zero": -0.5, "greek_charm_one": -0.5, "greek_charm_near_left": -0.1}
    scores, _, alignment = forces(features(**against), RISING)
    directed = [scores[name] for name in NAMES if name != GAMMA]
    assert scores["charm"] < 0.0
    assert alignment == pytest.approx(sum(directed) / 4 * 3 / 4)


def test_fewer_than_three_confident_directions_align_nothing() -> None:
    two = {name: value for name, value in UPWARD.items() if name.startswith(("flow", "loc", "price"))}
    _, confidences, alignment = forces(features(**two, **DAMPING), context())
    assert [name for name in NAMES if confidences[name] >= 0.5] == [GAMMA, "flow", "structure"]
    assert math.isnan(alignment)
    assert not math.isnan(forces(features(**{**UPWARD, "flow_dex_5m_z": math.nan}), RISING)[2])


def test_weights_weigh() -> None:
    values, beside = features(**{**UPWARD, "price_momentum": -9.0})[:, None, None], RISING[:, None, None]
    even = forces_of(values, beside).alignment[0, 0]
    leaning = forces_of(values, beside, {"charm": 9.0, "vanna": 1.0, "flow": 1.0, "structure": 1.0}).alignment[0, 0]
    assert even != leaning


@given(st.lists(CELL, min_size=73, max_size=73), st.lists(CELL, min_size=4, max_size=4))
def test_scores_stay_in_bounds_and_pushes_add_up_to_them(cells: list[float], beside: list[float]) -> None:
    values, around = np.array(cells), np.array(beside)
    values[INDEX["price_time_of_day"]] = 0.5
    scores, confidences, alignment = forces(values, around)
    assert all(-1.0 <= scores[name] <= 1.0 and 0.0 <= confidences[name] <= 1.0 for name in NAMES)
    assert math.isnan(alignment) or -1.0 <= alignment <= 1.0
    pushes = explained(values, around)
    for name in NAMES:
        pushed = sum(push.push for push in pushes if push.force == name)
        assert scores[name] == pytest.approx(max(-1.0, min(1.0, pushed)), abs=1e-9)


def test_the_strongest_push_of_a_force_stands_first_beside_its_value() -> None:
    pushes = explained(features(price_momentum=0.1, price_return_5m_bps=-30.0), context())
    assert [(push.force, push.name, push.value) for push in pushes] == [
        ("structure", "price_return_5m_bps", -30.0), ("structure", "price_momentum", 0.1),
    ]  # fmt: skip
    evidence = Evidence(
        tuple(None if math.isnan(v) else v for v in features(price_momentum=0.1, price_return_5m_bps=-30.0).tolist()),
        (None,) * len(CONTEXT), (), None,
    )  # fmt: skip
    assert evidence.pushes == pushes


def test_every_input_is_a_feature_and_every_carrier_is_explained() -> None:
    for inputs in INPUTS.values():
        assert all(one.name in INDEX and one.scale for one in inputs)
        assert all(one.carrier is None or one.carrier in CARRIERS for one in inputs)
