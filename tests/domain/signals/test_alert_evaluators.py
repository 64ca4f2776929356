"""Evaluators: what fires, what never fires, and what comes back after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instants import BUCKET_NS
from domain.signals.alerts import EVALUATORS
from domain.signals.evaluator import AlertTerms, Evaluated, Evaluator, EvaluatorState, Reading
from domain.signals.gamma_flip import FlipEvaluator, FlipRules, FlipState
from domain.signals.registry import FEATURES
from tests.testkit.signal_histories import OPEN, SETTINGS

ZERO = 600_000
FLIP_RULES = SETTINGS.alert_rules["GAMMA_FLIP"]
assert isinstance(FLIP_RULES, FlipRules)
FLIP = FlipEvaluator(FLIP_RULES)
COOLDOWN_READINGS = FLIP_RULES.cooldown_ms // 30_000


def at(n: int, bps: float | None, zero: int | None = ZERO) -> Reading:
    """Return the n-th reading with spot so many bps above zero gamma (`None`: no spot)."""
    spot = None if bps is None else round(ZERO * (1 + bps / 1e4))
    net_gamma = None if spot is None or zero is None else float(spot - zero)
    return Reading(OPEN + n * BUCKET_NS, (None,) * len(FEATURES), spot, zero, net_gamma=net_gamma)


def run(evaluator: Evaluator[Any, Any], readings: list[Reading], state: Any = None) -> tuple[Any, list[Evaluated[Any]]]:
    state = evaluator.initial(None) if state is None else state
    out = []
    for reading in readings:
        out.append(evaluator.evaluate(state, reading))
        state = out[-1].state
    return state, out


def fired(out: list[Evaluated[Any]]) -> list[tuple[int, int]]:
    return [(n, e.terms.direction) for n, e in enumerate(out) if e.terms is not None]


def flips(path: Sequence[float | None]) -> list[tuple[int, int]]:
    return fired(run(FLIP, [at(n, bps) for n, bps in enumerate(path)])[1])


def test_a_crossing_confirmed_by_two_readings_fires_once_in_its_direction() -> None:
    assert flips([-10.0] * 12 + [10.0] * 12) == [(13, 1)]
    assert flips([10.0] * 12 + [-10.0] * 12) == [(13, -1)]


@pytest.mark.parametrize("shift", [0.93, 1.07])
def test_a_level_that_jumps_over_spot_is_no_flip_and_the_next_crossing_is(shift: float) -> None:
    far = round(ZERO * shift)
    side = 10.0 if far > ZERO else -10.0
    readings = [at(n, side) for n in range(4)] + [at(n, side, far) for n in range(4, 8)]
    state, out = run(FLIP, readings)
    assert fired(out) == []
    assert (state.side, out[5].why) == (-1 if far > ZERO else 1, "zero gamma has moved over spot: no flip")
    spot = round(far * (1 + side / 1e4))
    back = [replace(at(n, 0.0, far), spot=spot, net_gamma=float(spot - far)) for n in range(8, 11)]
    assert fired(run(FLIP, back, state)[1]) == [(1, 1 if side > 0 else -1)]


def test_a_level_that_comes_towards_a_spot_that_crosses_it_changes_nothing() -> None:
    readings = [at(0, 10.0), at(1, 10.0), at(2, -10.0, ZERO + 200), at(3, -10.0, ZERO + 200)]
    assert fired(run(FLIP, readings)[1]) == [(3, -1)]


def test_one_reading_on_the_far_side_confirms_nothing() -> None:
    assert flips([-10.0] * 5 + [10.0] + [-10.0] * 5 + [10.0] + [0.0] + [10.0] + [-10.0]) == []


def test_the_first_side_of_a_session_is_no_flip() -> None:
    state, out = run(FLIP, [at(n, 10.0) for n in range(4)])
    assert fired(out) == []
    assert state.side == 1
    assert out[0].why is not None


@given(st.lists(st.floats(-4.99, 4.99), min_size=1, max_size=200), st.sampled_from([-10.0, 10.0]))
def test_noise_inside_the_band_never_fires(noise: list[float], side: float) -> None:
    assert flips([side, side, *noise, side, side, *noise]) == []


@given(st.lists(st.one_of(st.none(), st.floats(-30.0, 30.0)), max_size=200))
def test_flips_alternate_keep_the_cooldown_and_stand_on_two_readings_of_their_side(path: list[float | None]) -> None:
    found = flips(path)
    for (n, direction), (later_n, later_direction) in pairwise(found):
        assert later_n - n >= COOLDOWN_READINGS
        between = path[n + 1 : later_n + 1]
        assert direction == later_direction or any(b is not None and b * direction < 0 for b in between)
    for n, direction in found:
        assert all(b is not None and b * direction > 4.9 for b in path[n - 1 : n + 1])
        assert any(b is not None and b * direction < -4.9 for b in path[:n])


@given(st.lists(st.tuples(st.integers(12, 30), st.floats(0.0, 4.9)), min_size=1, max_size=8))
def test_every_real_crossing_outside_the_cooldown_fires_exactly_once(legs: list[tuple[int, float]]) -> None:
    path: list[float] = []
    for n, (length, noise) in enumerate(legs):
        side = 1.0 if n % 2 else -1.0
        path += [side * 12.0, side * 12.0, *([noise, -noise, side * 7.0] * length)[: length - 2]]
    assert [direction for _, direction in flips(path)] == [1 if n % 2 else -1 for n in range(1, len(legs))]


def test_a_flip_in_the_cooldown_is_let_go_for_good() -> None:
    path = [-10.0] * 3 + [10.0] * 3 + [-10.0] * 30
    assert flips(path) == [(4, 1)]
    _, out = run(FLIP, [at(n, bps) for n, bps in enumerate(path)])
    assert out[7].why == "cooldown: this flip is let go"


@pytest.mark.parametrize("reading", [at(2, None), at(2, 10.0, None)])
def test_a_missing_input_is_not_evaluated_and_breaks_the_row(reading: Reading) -> None:
    state, _ = run(FLIP, [at(0, -10.0), at(1, -10.0)])
    state, _ = run(FLIP, [at(2, 10.0)], state)
    missing = Reading(OPEN + 3 * BUCKET_NS, reading.features, reading.spot, reading.zero_gamma)
    state, out = run(FLIP, [missing, at(4, 10.0)], state)
    assert (out[0].why or "").startswith("missing")
    assert fired(out) == []
    assert fired(run(FLIP, [at(5, 10.0)], state)[1]) == [(0, 1)]


def test_a_crossing_during_a_long_gap_is_not_news() -> None:
    readings = [at(n, -10.0) for n in range(5)] + [at(n, 10.0) for n in range(20, 30)]
    assert fired(run(FLIP, readings)[1]) == []


@given(st.lists(st.floats(-30.0, 30.0), min_size=1, max_size=240), st.integers(0, 240))
def test_a_rerun_of_the_window_gives_the_state_back(path: list[float], cut: int) -> None:
    readings = [at(n, bps) for n, bps in enumerate(path)]
    state, out = run(FLIP, readings)
    before, _ = run(FLIP, readings[:cut])
    again, tail = run(FLIP, readings[cut:], before)
    assert again == state
    assert fired(out[cut:]) == fired(tail)


def test_terms_name_entry_target_stop_and_thresholds() -> None:
    (terms,) = [e.terms for e in run(FLIP, [at(n, -10.0 if n < 2 else 10.0) for n in range(4)])[1] if e.terms]
    assert terms == AlertTerms(
        direction=1,
        entry_ticks=600_600,
        target_ticks=601_501,
        stop_ticks=599_999,
        horizon_ms=FLIP_RULES.horizon_ms,
        thresholds=(("readings", 2.0), ("hysteresis_bps", 5.0), ("cooldown_ms", 300_000.0)),
    )


def test_of_several_levels_the_nearest_is_told_and_only_a_change_of_sign_is_a_flip() -> None:
    low, high = 589_000, 592_000  # net gamma is positive between them, negative beyond
    drift = [589_900, 590_400, 590_800, 591_200, 590_600, 589_900]

    def told(n: int, spot: int) -> Reading:
        nearest = min((low, high), key=lambda level: abs(spot - level))
        net = 1.0 if low < spot < high else -1.0
        return replace(at(n, 0.0, nearest), spot=spot, net_gamma=net)

    readings = [told(2 * n + again, spot) for n, spot in enumerate(drift) for again in (0, 1)]
    state, out = run(FLIP, readings)
    assert fired(out) == []
    up = [told(20 + n, 592_900) for n in range(2)]
    assert fired(run(FLIP, up, state)[1]) == [(1, 1)]  # into negative gamma, upwards


def test_a_side_follows_net_gamma_and_not_the_place_of_spot() -> None:
    readings = [at(0, -10.0), at(1, -10.0), *(replace(at(n, 10.0), net_gamma=-3.0) for n in range(2, 6))]
    assert fired(run(FLIP, readings)[1]) == []
    assert run(FLIP, [replace(at(0, -10.0), net_gamma=None)])[1][0].why == "missing net gamma"


@pytest.mark.parametrize("kind", list(EVALUATORS))
def test_every_kind_has_rules_in_the_settings_and_bears_its_own_name(kind: str) -> None:
    evaluator = EVALUATORS[kind](SETTINGS.alert_rules[kind])
    assert evaluator.kind == kind
    assert isinstance(evaluator.rules, evaluator.rules_type)
    assert evaluator.version_name == f"{kind}-{evaluator.rules.version}"
    assert isinstance(evaluator.initial(None), EvaluatorState)


def test_a_kind_remembers_its_own_last_alert_as_the_end_of_its_bucket() -> None:
    assert FLIP.initial(OPEN + BUCKET_NS + 2_000_000_000) == FlipState(last_alert_utc=OPEN + BUCKET_NS)
