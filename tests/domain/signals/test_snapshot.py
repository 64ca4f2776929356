"""From rows to a snapshot, and what location and price say of snapshots, by hand."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features import frames
from domain.features.evidence import evidence_of
from domain.instants import BUCKET_NS
from domain.session import calendar
from domain.signals.registry import FEATURES, GROUP_SIZES, INDEX, Group
from domain.signals.snapshot import Snapshot, reduced
from domain.units import Ticks
from tests.testkit.signal_histories import CLOSE, OPEN, SESSION, profile, rows_of

DAY = calendar.TradingDay(SESSION, OPEN, CLOSE, is_half=False)


def window_of(spots: list[int | None]) -> tuple[Snapshot, ...]:
    return tuple(Snapshot(OPEN + n * BUCKET_NS, spot) for n, spot in enumerate(spots))


def values_of(window: tuple[Snapshot, ...]) -> tuple[float | None, ...]:
    """Return the 73 features of the newest snapshot."""
    return evidence_of(frames.live(frames.window_of(window), window[-1].bucket_utc, DAY)).features


def value(window: tuple[Snapshot, ...], name: str) -> float | None:
    return values_of(window)[INDEX[name]]


def test_there_are_exactly_73_features_in_the_groups_of_the_contract() -> None:
    assert len(FEATURES) == 73
    assert len(INDEX) == 73
    assert Counter(feature.group for feature in FEATURES) == Counter(GROUP_SIZES)
    assert list(dict.fromkeys(f.group for f in FEATURES)) == list(Group)
    assert all(f.unit and f.formula and f.missing for f in FEATURES)


def full_rows() -> Any:
    zero = profile(
        "SPX", "classic_gex_zero", 600_000, zero_gamma=598_800, major_pos_vol=605_000, major_neg_vol=595_000,
        major_pos_oi=606_000, major_neg_oi=594_000,
    )  # fmt: skip
    state = profile("SPX", "state_gamma_zero", 600_000, major_long_gamma=601_000, major_short_gamma=597_500)
    return rows_of("classic", OPEN, zero, state).rows


def test_location_is_the_signed_distance_in_bps_and_in_moves_left() -> None:
    snapshot = reduced(OPEN, full_rows())
    values = dict(zip(INDEX, values_of((snapshot,)), strict=True))
    assert values["loc_zero_gamma_bps"] == pytest.approx(1_200 / 598_800 * 1e4)
    assert values["loc_major_pos_vol_bps"] == pytest.approx(-5_000 / 605_000 * 1e4)
    move = 600_000 * 0.2 * math.sqrt(389.5 / 525_600)
    assert values["loc_zero_gamma_moves"] == pytest.approx(1_200 / move)
    assert values["loc_short_gamma_moves"] == pytest.approx(2_500 / move)
    assert all(values[f.name] is not None for f in FEATURES if f.group is Group.LOCATION)


def test_rows_in_any_order_reduce_to_the_same_snapshot() -> None:
    rows = full_rows()
    assert reduced(OPEN, rows) == reduced(OPEN, rows[::-1])


def test_a_level_of_zero_and_a_spot_of_zero_are_missing() -> None:
    zero = profile("SPX", "classic_gex_zero", 600_000, major_pos_vol=605_000)
    blind = profile("SPX", "state_gamma_zero", 1_000, major_long_gamma=5)
    blind.spot = Ticks(0)
    snapshot = reduced(OPEN, rows_of("x", OPEN, zero, blind).rows)
    assert snapshot.zero_gamma is None
    zero.spot = Ticks(0)
    assert reduced(OPEN, rows_of("x", OPEN, zero, blind).rows).spot is None


@pytest.mark.parametrize(("call", "put", "iv"), [
    (200, 2_147_483_647, 0.2), (2_147_483_647, 300, 0.3), (2_147_483, 2_147_483, None), (10_001, 0, None),
])  # fmt: skip
def test_a_volatility_beyond_reason_is_missing(call: int, put: int, iv: float | None) -> None:
    gamma = profile("SPX", "state_gamma_zero", 600_000)
    gamma.values.setflags(write=True)
    gamma.values[:, 0], gamma.values[:, 1] = call, put
    assert reduced(OPEN, rows_of("x", OPEN, gamma).rows).iv == iv


def test_the_only_strike_far_from_spot_says_nothing_of_the_money() -> None:
    gamma = profile("SPX", "state_gamma_zero", 600_000)
    gamma.spot = Ticks(660_000)
    assert reduced(OPEN, rows_of("x", OPEN, gamma).rows).iv is None
    gamma.spot = Ticks(610_000)
    assert reduced(OPEN, rows_of("x", OPEN, gamma).rows).iv == 0.2


def test_without_rows_only_the_time_of_day_is_known() -> None:
    values = values_of((Snapshot(OPEN),))
    assert [f.name for f, v in zip(FEATURES, values, strict=True) if v is not None] == ["price_time_of_day"]


def test_after_the_close_there_is_no_move_left() -> None:
    last = Snapshot(DAY.close_utc - BUCKET_NS, 600_000, zero_gamma=599_000, iv=0.2)
    assert value((last,), "loc_zero_gamma_moves") is None
    assert value((last,), "price_time_of_day") == 1.0


def test_returns_look_back_by_bucket_and_not_by_count() -> None:
    spots: list[int | None] = [600_000 + 10 * n for n in range(61)]
    window = window_of(spots)
    assert value(window, "price_return_5m_bps") == pytest.approx(math.log(600_600 / 600_500) * 1e4)
    assert value(window, "price_return_30m_bps") == pytest.approx(math.log(600_600 / 600_000) * 1e4)
    assert value(window, "price_return_60m_bps") is None
    gap = (*window[:50], *window[51:])  # the bucket of 5 min before was never read
    assert value(gap, "price_return_5m_bps") is None
    assert value(gap, "price_realised_vol_30m") is None


def test_realised_volatility_of_a_steady_zigzag_is_that_of_its_steps() -> None:
    window = window_of([600_000 if n % 2 else 600_300 for n in range(61)])
    step = math.log(600_300 / 600_000)
    assert value(window, "price_realised_vol_30m") == pytest.approx(step * math.sqrt(252 * 780))
    assert value(window, "price_momentum") == pytest.approx(0.0)


def test_a_price_that_stands_still_has_no_momentum_and_no_range() -> None:
    window = window_of([600_000] * 61)
    assert value(window, "price_momentum") is None
    assert value(window, "price_range_position") is None
    assert value(window, "price_realised_vol_30m") == 0.0


@given(st.lists(st.one_of(st.none(), st.integers(500_000, 700_000)), min_size=1, max_size=240))
def test_every_value_is_finite_and_has_at_most_12_significant_digits(spots: list[int | None]) -> None:
    for number in values_of(window_of(spots)):
        assert number is None or (math.isfinite(number) and float(f"{number:.12g}") == number)
