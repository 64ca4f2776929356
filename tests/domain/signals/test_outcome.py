"""What became of an alert: followed and read from columns alike, cut by a gap, kept over a restart."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.feature_sessions import FULL
from domain.instants import BUCKET_NS
from domain.signals.alert import Alert, AlertKey
from domain.signals.outcome import First, Outcome, OutcomeState, begun, followed, outcome_in
from domain.units import Utc

OPEN, CLOSE = FULL.open_utc, FULL.close_utc
ENTRY = 600_000


def alert_at(reading: int, direction: int = 1, horizon_min: int = 30, target: int = 1_200, stop: int = 600) -> Alert:
    """An alert of 20 bps up and 10 bps down from 6,000.00, found in a reading of the session."""
    return Alert(
        key=AlertKey("advisor", "SPX", "STRUCTURE_BREAK", 1, OPEN + reading * BUCKET_NS), direction=direction,
        entry_ticks=ENTRY, target_ticks=ENTRY + direction * target, stop_ticks=ENTRY - direction * stop,
        horizon_ms=horizon_min * 60_000, is_shadow=True, raised_utc=OPEN + (reading + 1) * BUCKET_NS,
    )  # fmt: skip


def follow(alert: Alert, spots: list[float], until: int | None = None) -> Outcome:
    """Follow an alert over a session's spots; NaN is a silent reading."""
    outcome = begun(alert, CLOSE)
    for n, spot in enumerate(spots[:until]):
        told = None if math.isnan(spot) else round(spot)
        outcome = followed(outcome, Utc(OPEN + n * BUCKET_NS), told)
    return outcome


def spots_from(reading: int, *after: float) -> list[float]:
    """A session that stands at the entry, then goes through these, then stands where they ended."""
    head = [float(ENTRY)] * (reading + 1)
    return [*head, *after, *[after[-1]] * (780 - len(head) - len(after))]


def test_the_target_before_the_stop_with_the_time_to_each() -> None:
    found = follow(alert_at(10), spots_from(10, 600_300, 601_200, 599_000, 600_000))
    assert (found.state, found.first) == (OutcomeState.RESOLVED, First.TARGET)
    assert (found.target_ms, found.stop_ms) == (60_000, 90_000)
    assert found.mfe_bps == pytest.approx(20.0)
    assert found.mae_bps == pytest.approx(1_000 / 60)
    assert [found.mfe_stops, found.mae_stops] == pytest.approx([2.0, 1_000 / 600])
    assert found.path_bps[:4] == pytest.approx((20.0, 0.0, 0.0, 0.0))  # after 1, 5, 15, 30 min
    assert found.path_bps[4] is None  # 60 min are beyond the horizon


def test_a_put_mirrors_a_call() -> None:
    up = follow(alert_at(10), spots_from(10, 600_300, 601_200, 599_000, 600_000))
    down = follow(alert_at(10, direction=-1), spots_from(10, 599_700, 598_800, 601_000, 600_000))
    assert (down.first, down.target_ms, down.stop_ms) == (up.first, up.target_ms, up.stop_ms)
    assert [down.mfe_bps, down.mae_bps] == pytest.approx([up.mfe_bps, up.mae_bps])


def test_what_is_reached_again_keeps_its_first_time() -> None:
    found = follow(alert_at(10), spots_from(10, 601_200, 599_400, 601_300, 599_300, 600_000))
    assert (found.target_ms, found.stop_ms) == (30_000, 60_000)
    columns = outcome_in(alert_at(10), np.array(spots_from(10, 601_200, 599_400, 601_300, 599_300)), OPEN, CLOSE)
    assert (columns.target_ms, columns.stop_ms) == (30_000, 60_000)


def test_neither_reached_is_resolved_as_neither() -> None:
    found = follow(alert_at(10), spots_from(10, 600_100))
    assert (found.state, found.first, found.mae_bps) == (OutcomeState.RESOLVED, First.NEITHER, 0.0)


def test_the_price_of_the_alerts_own_bucket_does_not_count() -> None:
    spots = spots_from(10, 600_000)
    spots[10] = 700_000.0
    assert follow(alert_at(10), spots).first is First.NEITHER


def test_what_comes_after_the_horizon_does_not_count() -> None:
    spots = spots_from(10, *[600_000.0] * 60, 700_000)
    found = follow(alert_at(10), spots)
    assert (found.state, found.mfe_bps) == (OutcomeState.RESOLVED, 0.0)
    assert follow(alert_at(10), spots_from(10, *[600_000.0] * 59, 700_000)).first is First.TARGET


def test_one_silent_reading_is_bridged_and_two_leave_it_unresolved() -> None:
    one = follow(alert_at(10), spots_from(10, 600_100, math.nan, 601_200))
    assert (one.state, one.first) == (OutcomeState.RESOLVED, First.TARGET)
    assert one.path_bps[0] is None
    two = follow(alert_at(10), spots_from(10, 600_100, math.nan, math.nan, 601_200))
    assert (two.state, two.target_ms) == (OutcomeState.UNRESOLVED, None)


def test_readings_that_never_come_are_silent_ones() -> None:
    spots = spots_from(10, 600_100, 600_100, 601_200)
    outcome = begun(alert_at(10), CLOSE)
    outcome = followed(outcome, Utc(OPEN + 11 * BUCKET_NS), 600_100)
    assert followed(outcome, Utc(OPEN + 13 * BUCKET_NS), round(spots[13])).first is First.TARGET
    assert followed(outcome, Utc(OPEN + 14 * BUCKET_NS), 601_200).state is OutcomeState.UNRESOLVED


def test_the_horizon_ends_at_the_close() -> None:
    found = follow(alert_at(770, horizon_min=60), spots_from(770, 600_100))
    assert (found.state, found.end_utc) == (OutcomeState.RESOLVED, CLOSE)
    assert begun(alert_at(779), CLOSE).state is OutcomeState.UNRESOLVED
    assert outcome_in(alert_at(779), np.array(spots_from(778, 1.0)), OPEN, CLOSE).state is OutcomeState.UNRESOLVED


def test_an_outcome_under_way_survives_as_text() -> None:
    spots = spots_from(10, 600_300, 599_300, 601_200)
    half = follow(alert_at(10), spots, until=13)
    back = msgspec.json.decode(msgspec.json.encode(half), type=Outcome)
    assert back == half
    assert back.state is OutcomeState.FOLLOWED
    for n in range(13, 780):
        back = followed(back, Utc(OPEN + n * BUCKET_NS), round(spots[n]))
    assert back == follow(alert_at(10), spots)


SPOT = st.one_of(st.just(math.nan), st.integers(598_500, 601_500).map(float))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 779), st.sampled_from([1, -1]), st.sampled_from([1, 5, 20, 60]),
    st.lists(SPOT, min_size=1, max_size=130), st.integers(0, 130),
)  # fmt: skip
def test_followed_and_read_from_columns_are_the_same_also_of_a_day_that_is_not_over(
    reading: int, direction: int, horizon_min: int, after: list[float], seen: int
) -> None:
    alert = alert_at(reading, direction, horizon_min)
    spots = (spots_from(reading, *after) if reading < 779 else [float(ENTRY)] * 780)[: reading + 1 + seen][:780]
    assert outcome_in(alert, np.array(spots), OPEN, CLOSE) == follow(alert, spots)
