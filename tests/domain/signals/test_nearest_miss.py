"""The nearest miss of a day, and the distances that it compares."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from domain.instants import BUCKET_NS
from domain.signals.evaluator import Reading
from domain.signals.nearest_miss import LEAD_NS, nearest_miss
from tests.domain.signals.test_alert_evaluators import FLIP, at
from tests.testkit.signal_histories import OPEN

BPS = st.none() | st.floats(-30, 30)


def flips(path: Sequence[float | None]) -> list[Reading]:
    return [at(n, bps) for n, bps in enumerate(path)]


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


@given(st.lists(BPS, max_size=60))
def test_an_alert_is_raised_only_where_the_distance_was_nought(path: list[float | None]) -> None:
    state = FLIP.initial(None)
    for reading in flips(path):
        distance, judged = FLIP.distance_bps(state, reading), FLIP.evaluate(state, reading)
        assert judged.terms is None or distance == 0.0
        assert distance is None or distance >= 0.0
        state = judged.state
