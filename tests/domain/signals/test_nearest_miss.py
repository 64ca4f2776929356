"""The nearest miss of a day, and the distances that it compares."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instants import BUCKET_NS
from domain.signals.evaluator import Reading
from domain.signals.nearest_miss import LEAD_NS, nearest_miss
from domain.signals.registry import FEATURES, INDEX
from tests.domain.signals.test_alert_evaluators import BREAK, FLIP, at
from tests.testkit.signal_histories import OPEN

BPS = st.none() | st.floats(-30, 30)


def flips(path: Sequence[float | None]) -> list[Reading]:
    return [at(n, bps) for n, bps in enumerate(path)]


def breaks(n: int, above_pos: float, trend: float | None = 0.0) -> Reading:
    """Return a reading with spot so far above the positive level, far above the negative one."""
    features: list[float | None] = [None] * len(FEATURES)
    features[INDEX["loc_major_pos_vol_bps"]] = above_pos
    features[INDEX["loc_major_neg_vol_bps"]] = 200.0
    features[INDEX["price_return_30m_bps"]] = trend
    spot = round(600_000 * (1 + above_pos / 1e4))
    return Reading(OPEN + n * BUCKET_NS, tuple(features), spot, 600_000)


def test_the_nearest_approach_to_the_other_side_is_the_miss() -> None:
    miss = nearest_miss(FLIP, flips([-10.0, -10.0, -8.0, 3.0, -2.0, -9.0]))
    assert miss is not None
    assert miss.reading.bucket_utc == OPEN + 3 * BUCKET_NS
    assert abs(miss.distance_bps - (FLIP.rules.hysteresis_bps - 3.0)) < 0.1


def test_a_side_that_was_not_confirmed_is_a_miss_with_its_reason() -> None:
    miss = nearest_miss(FLIP, flips([-10.0] * 4 + [10.0] + [-10.0] * 4))
    assert miss is not None
    assert (miss.distance_bps, miss.why) == (0.0, "arming: 1 of 2 readings on the far side")


def test_what_led_up_to_an_alert_is_no_miss() -> None:
    path = [-10.0] * 4 + [-9.0] + [-10.0] * 20 + [2.0, 10.0, 10.0] + [12.0] * 4
    miss = nearest_miss(FLIP, flips(path))
    assert miss is not None
    assert miss.reading.bucket_utc == OPEN + 4 * BUCKET_NS
    assert LEAD_NS < 20 * BUCKET_NS


def test_a_day_that_was_never_armed_has_no_miss() -> None:
    assert nearest_miss(FLIP, flips([None, None, 0.0])) is None
    assert nearest_miss(FLIP, []) is None


def test_a_break_against_the_trend_was_there() -> None:
    trend = 100.0
    path = [breaks(n, -20.0, trend) for n in range(4)] + [breaks(4, -6.0, trend)]
    miss = nearest_miss(BREAK, path)
    assert miss is not None
    assert abs(miss.distance_bps - (BREAK.rules.beyond_bps + 6.0)) < 0.2
    level = [replace(breaks(n, -20.0, -trend)) for n in range(3)]
    broken = replace(breaks(3, 5.0, -trend), spot=level[-1].spot and round(level[-1].spot / (1 - 20e-4) * (1 + 5e-4)))
    miss = nearest_miss(BREAK, [*level, broken])
    assert miss is not None
    assert (miss.distance_bps, miss.why) == (0.0, "against the 30 min trend")


@given(st.lists(BPS, max_size=60))
def test_an_alert_is_raised_only_where_the_distance_was_nought(path: list[float | None]) -> None:
    state = FLIP.initial(None)
    for reading in flips(path):
        distance, judged = FLIP.distance_bps(state, reading), FLIP.evaluate(state, reading)
        assert judged.terms is None or distance == 0.0
        assert distance is None or distance >= 0.0
        state = judged.state


@given(st.lists(st.floats(-30, 30), max_size=60))
def test_a_break_is_raised_only_where_the_distance_was_nought(path: list[float]) -> None:
    state = BREAK.initial(None)
    for reading in (breaks(n, bps) for n, bps in enumerate(path)):
        distance, judged = BREAK.distance_bps(state, reading), BREAK.evaluate(state, reading)
        assert judged.terms is None or distance == 0.0
        state = judged.state
